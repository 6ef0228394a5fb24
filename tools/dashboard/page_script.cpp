// The script of a dashboard's page: it draws what /events tells it and fetches the rest as pieces that the server has drawn.
// Texts are put in as text, never as markup.
#include <string_view>

#include "tools/dashboard/page.h"

namespace r1::dashboard {

namespace {

constexpr std::string_view kScript = R"js(
'use strict';
const $ = id => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
function make(tag, attributes, ...children) {
  const svg = ['svg', 'g', 'path', 'rect', 'text', 'title', 'defs', 'marker'].includes(tag);
  const e = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined) e.setAttribute(k, v);
  for (const c of children) if (c !== null && c !== undefined) e.append(c);
  return e;
}
const short = (text, n) => text.length > n ? text.slice(0, n - 1) + '…' : text;
function digits(x) {
  if (x === null || x === undefined) return '–';
  const a = Math.abs(x);
  return a >= 1e9 ? (x / 1e9).toFixed(2) + ' G' : a >= 1e6 ? (x / 1e6).toFixed(2) + ' M' : a >= 1e4 ? (x / 1e3).toFixed(1) + ' k'
    : a >= 100 || Number.isInteger(x) ? x.toFixed(0) : a >= 10 ? x.toFixed(1) : x.toFixed(2);
}
function time(s) {
  if (s === null || s === undefined) return '–';
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 100) return s.toFixed(0) + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min ' + String(Math.floor(s % 60)).padStart(2, '0') + ' s';
  return Math.floor(s / 3600) + ' h ' + String(Math.floor(s / 60) % 60).padStart(2, '0') + ' min';
}
const bytes = b => b >= 1 << 30 ? (b / (1 << 30)).toFixed(2) + ' GiB' : (b / (1 << 20)).toFixed(0) + ' MiB';

let graph = null, state = null, ended = false;
const plan = name => graph.stages.find(s => s.name === name);

async function ask(path, kind) {
  const answer = await fetch(path, {credentials: 'same-origin'});
  if (!answer.ok) throw new Error(answer.status + ' ' + (await answer.text()).trim());
  return kind === 'json' ? answer.json() : answer.text();
}
async function part(id, path) {
  const text = await ask(path);
  const to = $(id);
  if (to.asked !== text) { to.innerHTML = text; to.asked = text; return true; }
  return false;
}
function tips() {
)js";

constexpr std::string_view kScriptAfterTips = R"js(
}

// ---- what is going on now
function facts() {
  const l = state.labels, list = $('facts'), p = state.process;
  list.replaceChildren();
  const fact = (name, value) => { if (value) list.append(make('div', {}, make('dt', {}, name), make('dd', {}, value))); };
  fact('running for', time(state.seconds));
  fact('left', state.left_s === null ? '' : (state.left_is_minimum ? 'more than ' : 'about ') + time(state.left_s));
  const done = state.stages.filter(s => s.status === 'done').length;
  fact('stages', done + ' of ' + state.stages.length + ' complete');
  fact('seed', String(l.seed));
  fact('precision', l.precision);
  fact('device', l.device);
  fact('machine', l.machine);
  fact('busy cores', p.cores_used === null ? '' : p.cores_used.toFixed(1) + ' of ' + l.cores);
  fact('memory', bytes(p.resident));
}

// Columns by the longest way along live channels. What feeds only on versions of weights stands behind who makes them, what
// leads back runs below.
function layout(s) {
  const forward = s.edges.filter(e => e.carries !== 'weights');
  const column = {}, row = {};
  for (const n of s.nodes) column[n.id] = 0;
  for (let i = 0; i < s.nodes.length; ++i)
    for (const e of forward) column[e.to] = Math.max(column[e.to], Math.min(column[e.from] + 1, s.nodes.length));
  for (const n of s.nodes)
    if (!forward.some(e => e.from === n.id || e.to === n.id))
      for (const e of s.edges) if (e.to === n.id) column[n.id] = column[e.from] + 1;
  const used = {};
  for (const n of s.nodes) { row[n.id] = used[column[n.id]] || 0; used[column[n.id]] = row[n.id] + 1; }
  return {column, row, columns: Math.max(...Object.values(column)) + 1, rows: Math.max(...Object.values(used))};
}

const W = 132, H = 54, GAP = 74, ROW = 96;
function actors(s) {
  const at = layout(s), back = s.edges.filter(e => at.column[e.to] <= at.column[e.from]);
  const x = id => 4 + at.column[id] * (W + GAP), y = id => 8 + at.row[id] * ROW;
  const width = at.columns * (W + GAP) - GAP + 8, floor = 8 + at.rows * ROW - (ROW - H), height = floor + back.length * 34 + 16;
  const svg = make('svg', {viewBox: `0 0 ${width} ${height}`, style: `max-width:${width * 1.15}px`, role: 'img',
                           class: s.css, 'aria-label': 'the actors of the stage and what is under way between them'});
  svg.append(make('defs', {}, make('marker', {id: 'a-' + s.name, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7,
                                              markerHeight: 7, orient: 'auto'}, make('path', {class: 'arrow', d: 'M0 0L8 4L0 8z'}))));
  s.edges.forEach(e => {
    const back_at = back.indexOf(e);
    let d, tx, ty;
    if (back_at < 0) {
      const x1 = x(e.from) + W, y1 = y(e.from) + H / 2, x2 = x(e.to) - 2, y2 = y(e.to) + H / 2, m = (x1 + x2) / 2;
      d = `M${x1} ${y1}C${m} ${y1} ${m} ${y2} ${x2} ${y2}`;
      tx = m; ty = (y1 + y2) / 2;
      if (x2 - x1 > GAP && y1 === y2) {  // over what stands between
        d = `M${x1} ${y1 - 12}C${x1 + 30} ${-2} ${x2 - 30} ${-2} ${x2} ${y2 - 12}`;
        tx = x1 + 40; ty = y1 - 22;
      }
    } else {
      const low = floor + 22 + back_at * 34, x1 = x(e.from) + W / 2 + 14 * back_at, x2 = x(e.to) + W / 2 + 14 * back_at;
      d = `M${x1} ${y(e.from) + H}V${low - 8}Q${x1} ${low} ${x1 - 8} ${low}H${x2 + 8}Q${x2} ${low} ${x2} ${low - 8}V${y(e.to) + H + 2}`;
      tx = (x1 + x2) / 2; ty = low;
    }
    const g = make('g', {});
    g.append(make('path', {class: 'edge' + (e.carries === 'weights' ? ' weights' : ''), d, 'marker-end': `url(#a-${s.name})`}),
             make('text', {class: 'rate', x: tx, y: ty - 7, 'text-anchor': 'middle'}),
             make('rect', {class: 'meter', x: tx - 22, y: ty + 6, width: 44, height: 4, rx: 2}),
             make('rect', {class: 'meter-fill', x: tx - 22, y: ty + 6, width: 0, height: 4, rx: 2}),
             make('text', {class: 'fill-text', x: tx, y: ty + 21, 'text-anchor': 'middle'}), make('title', {}));
    svg.append(g);
    e.picture = g;
  });
  for (const n of s.nodes) {
    const g = make('g', {});
    g.append(make('rect', {class: 'node', x: x(n.id), y: y(n.id), width: W, height: H, rx: 7}),
             make('text', {class: 'id', x: x(n.id) + W / 2, y: y(n.id) + 17, 'text-anchor': 'middle'}, short(n.id, 18)),
             make('text', {class: 'says', x: x(n.id) + W / 2, y: y(n.id) + 32, 'text-anchor': 'middle'}, n.role),
             make('text', {class: 'says', x: x(n.id) + W / 2, y: y(n.id) + 46, 'text-anchor': 'middle'}), make('title', {}));
    svg.append(g);
    n.picture = g;
  }
  return svg;
}

function redraw(s) {
  const moving = {};
  for (const c of state.channels) moving[c.edge] = c;
  for (const e of s.edges) {
    const [path, rate, , fill, text, title] = e.picture.children, c = moving[e.name];
    const full = c && c.capacity > 0 && c.under_way >= 0.9 * c.capacity;
    path.setAttribute('class', 'edge' + (e.carries === 'weights' ? ' weights' : '') + (full ? ' full' : c && c.per_s > 0 ? ' moves' : ''));
    rate.textContent = !c || c.per_s === null ? '' : digits(c.per_s) + '/s';
    fill.setAttribute('width', c && c.capacity > 0 ? 44 * Math.min(1, c.under_way / c.capacity) : 0);
    fill.setAttribute('class', 'meter-fill' + (full ? ' full' : ''));
    text.textContent = !c ? '' : c.under_way + ' of ' + c.capacity;
    title.textContent = e.name + ': ' + e.carries + (c ? `; ${c.sent} sent, ${c.under_way} under way, the last: ${c.last}` : '; nothing yet') +
      (c && c.lost.length ? '; LOST: ' + c.lost.join(', ') : '');
  }
  for (const n of s.nodes) {
    const [box, , , says, title] = n.picture.children, role = state.roles.find(r => r.node === n.id);
    const waits = state.waits.filter(w => w.owner === n.id), jobs = waits.filter(w => w.key.startsWith('job '));
    const stands = waits.filter(w => !w.key.startsWith('job ') && w.s >= 0.5);
    box.setAttribute('class', 'node' + (jobs.length ? ' work' : role && role.state !== 'running' ? ' over' : ''));
    says.setAttribute('class', 'says' + (!jobs.length && stands.length ? ' waits' : ''));
    says.textContent = short(jobs.length ? jobs[0].key.slice(4) : stands.length ? 'waits ' + time(stands[0].s) : role ? role.state : '', 25);
    title.textContent = n.id + (role ? ': ' + role.state + (role.says ? '; ' + role.says : '') : '') +
      waits.map(w => `; ${w.key} ${w.reason}${w.on ? ' (' + w.on + ')' : ''} ${time(w.s)}`).join('');
  }
}

function running() {
  const now = state.stages.filter(s => ['preparing', 'running', 'summing up'].includes(s.phase)), box = $('running');
  if (box.names !== now.map(s => s.name).join()) {
    box.names = now.map(s => s.name).join();
    box.replaceChildren(...now.map(s => {
      const p = plan(s.name), card = make('div', {class: 'stage ' + p.css});
      card.append(make('h3', {}, make('span', {class: 'chip ' + p.css}, p.kind), ' ', p.label, ' ', make('span', {class: 'state'}, s.name)),
                  make('div', {class: 'progress'}, make('i', {})), make('div', {class: 'numbers'}),
                  make('div', {class: 'actors'}, actors(p)), make('div', {class: 'busy'}));
      card.id = 'card-' + s.name;
      return card;
    }));
    if (!now.length) box.append(make('p', {class: 'note'}, ended ? 'The run has ended.' : 'No stage is running.'));
  }
  for (const s of now) {
    const card = $('card-' + s.name), p = plan(s.name), [, progress, numbers, , busy] = card.children;
    progress.firstChild.style.width = s.limit ? 100 * Math.min(1, s.batches / s.limit) + '%' : '0';
    numbers.replaceChildren();
    const say = (what, value) => { if (value !== null) numbers.append(make('div', {}, make('b', {}, value), make('span', {}, what))); };
    say('batches', s.batches + (s.limit ? ' of ' + s.limit : ''));
    if (s.phase !== 'running') say('phase', s.phase);
    say('so far', time(s.seconds));
    if (s.left_s !== null && s.left_s !== undefined) say('left, about', time(s.left_s));
    if (s.generated_per_s) say('tokens sampled a second', digits(s.generated_per_s));
    if (s.trained_per_s) say('tokens trained a second', digits(s.trained_per_s));
    if (s.draws) {
      const dropped = Object.entries(s.dropped);
      say('draws trained', digits(s.trained));
      if (dropped.length) say('dropped: ' + dropped.map(d => d[0].replaceAll('_', ' ') + ' ' + digits(d[1])).join(', '),
                              digits(dropped.reduce((a, d) => a + d[1], 0)));
      say('under way', digits(s.open));
    }
    if (s.restarts) say('restarts', String(s.restarts));
    redraw(p);
    busy.replaceChildren();
    const share = (name, seconds, css) => {
      if (!(s.seconds > 0)) return;
      const of = Math.min(1, seconds / s.seconds);
      busy.append(make('span', {}, name), make('i', {class: 'bar ' + css, style: `width:${100 * of}%`}), make('span', {}, (100 * of).toFixed(0) + ' % of ' + time(s.seconds)));
    };
    for (const [engine, seconds] of Object.entries(s.engines || {})) share(engine + ' at work', seconds, p.css);
    if (s.engines && s.engines.generator && s.engines.trainer) share('both at once', s.overlap_s, 'c-green');
    share('no engine at work', s.idle_s || 0, 'c-grey');
  }
}

function table(id, columns, rows, none) {
  const to = $(id);
  if (!rows.length) { to.replaceChildren(make('p', {class: 'note'}, none)); return; }
  const head = make('tr', {}, ...columns.map(c => make('th', {class: c[1]}, c[0])));
  const body = rows.map(r => make('tr', {}, ...r.map((v, i) => make('td', {class: columns[i][1]}, String(v)))));
  to.replaceChildren(make('div', {class: 'scroll'}, make('table', {class: 'filled'}, make('thead', {}, head), make('tbody', {}, ...body))));
}
function hosts() {
  const l = state.labels, p = state.process;
  const rows = [['head', 'here', l.device, l.cores, p.cores_used === null ? '' : p.cores_used.toFixed(1), bytes(p.resident), 'everything else', '']];
  for (const n of state.nodes || [])
    rows.push([n.name, n.host, n.state, n.threads === null ? '' : n.threads, '', n.resident === null ? '' : bytes(n.resident),
               [n.roles, n.ranks && 'rank ' + n.ranks].filter(t => t).join(', '), n.lost || '']);
  table('processes', [['process', 'fixed'], ['host', ''], ['device or state', ''], ['threads', 'n'], ['busy', 'n'], ['memory', 'n'], ['does', ''], ['lost', 'n']], rows, '');
  const waits = state.waits.filter(w => !w.key.startsWith('job ')).sort((a, b) => b.s - a.s);
  table('waits', [['who', 'fixed'], ['waits', ''], ['for', 'fixed'], ['since', 'n']], waits.map(w => [w.owner, w.reason, w.on, time(w.s)]), 'Nobody waits.');
}

// ---- pieces that the server draws
let busy_with_parts = false, last_curves = '', last_parts = '';
async function parts() {
  if (busy_with_parts) return;
  busy_with_parts = true;
  try {
    const statuses = state.stages.map(s => s.status + (s.status === 'running' ? '' : s.verdict)).join();
    if (statuses !== last_parts || ended) {
      await part('part-pipeline', 'part/pipeline');
      await part('part-stages', 'part/stages');
      last_parts = statuses;
      fill_stages();
    }
    const name = $('curve-stage').value, s = state.stages.find(t => t.name === name);
    const key = s ? name + ' ' + s.batches + ' ' + s.status : '';
    if (s && key !== last_curves && !document.querySelector('#part-curves .tip-box')) {
      if (await part('part-curves', 'part/curves?stage=' + encodeURIComponent(name))) tips();
      last_curves = key;
    }
  } catch (e) { last_parts = ''; } finally { busy_with_parts = false; }
}
let chosen_by_hand = false;
function fill_stages() {
  const begun = state.stages.filter(s => s.status !== 'waiting');
  for (const [id, list] of [['curve-stage', begun], ['of-stage', begun.filter(s => plan(s.name).nodes.some(n => n.role === 'generator'))]]) {
    const select = $(id), before = select.value;
    select.replaceChildren(...list.map(s => make('option', {value: s.name}, plan(s.name).label === s.name ? s.name : s.name + ': ' + plan(s.name).label)));
    const at_work = list.filter(s => s.status === 'running'), newest = at_work.length ? at_work[0] : list[list.length - 1];
    const keep = list.some(s => s.name === before) && (chosen_by_hand || id === 'of-stage');
    if (keep) select.value = before; else if (newest) select.value = newest.name;
  }
}
$('curve-stage').addEventListener('change', () => { chosen_by_hand = true; parts(); });
document.addEventListener('click', e => {
  const link = e.target.closest && e.target.closest('a');
  const to = link && (link.getAttribute('href') || '');
  if (!to || !to.startsWith('#stage-')) return;
  e.preventDefault();
  const name = to.slice(7);
  if (![...$('curve-stage').options].some(o => o.value === name)) return;
  $('curve-stage').value = name;
  chosen_by_hand = true;
  parts();
  $('curves').scrollIntoView();
});

// ---- trajectories
let beyond = -1;
async function list(more) {
  const stage = $('of-stage').value;
  if (!stage) return;
  const query = new URLSearchParams({stage, order: $('order').value, outcome: $('outcome').value});
  if (more && beyond >= 0) query.set('beyond', beyond);
  try {
    await part('list', 'part/trajectories?' + query);
  } catch (e) { $('list').replaceChildren(make('p', {class: 'note'}, String(e.message))); return; }
  const told = document.querySelector('#list .outcomes');
  beyond = told && told.dataset.next ? Number(told.dataset.next) : -1;
  $('more').disabled = beyond < 0;
  const outcomes = told && told.dataset.outcomes ? told.dataset.outcomes.split('\n') : [], chosen = $('outcome').value;
  $('outcome').replaceChildren(make('option', {value: ''}, 'all'), ...outcomes.map(o => make('option', {value: o}, o.replaceAll('_', ' '))));
  $('outcome').value = outcomes.includes(chosen) ? chosen : '';
}
async function group(draw) {
  try {
    await part('group', 'part/group?' + new URLSearchParams({stage: $('of-stage').value, draw}));
  } catch (e) { $('group').replaceChildren(make('p', {class: 'note'}, String(e.message))); }
  $('group').scrollIntoView({block: 'nearest'});
}
$('show').addEventListener('click', () => list(false));
$('more').addEventListener('click', () => list(true));
$('order').addEventListener('change', () => list(false));
$('outcome').addEventListener('change', () => list(false));
$('of-stage').addEventListener('change', () => { $('outcome').value = ''; $('group').replaceChildren(); list(false); });
$('one').addEventListener('click', () => { if (/^\d+$/.test($('draw').value)) group($('draw').value); });
$('draw').addEventListener('keydown', e => { if (e.key === 'Enter') $('one').click(); });
$('list').addEventListener('click', e => { if (e.target.dataset.draw) group(e.target.dataset.draw); });

// ---- life
function said(text, gone) { $('state').textContent = text; $('state').className = gone ? 'gone' : ''; }
async function begin() {
  // The address may have held the token; from now on the cookie does.
  if (location.search) history.replaceState(null, '', location.pathname + location.hash);
  graph = await ask('graph.json', 'json');
  const events = new EventSource('events');
  events.onmessage = e => {
    state = JSON.parse(e.data);
    said('live; ' + new Date(state.at * 1000).toLocaleTimeString());
    facts(); running(); hosts(); parts();
  };
  events.addEventListener('end', e => {
    ended = true;
    events.close();
    said('the run has ended' + (e.data ? ': ' + e.data : ''), false);
  });
  events.onerror = () => { if (!ended) said('no answer from the run: it has ended, or the way to it is cut', true); };
}
begin().catch(e => said(String(e.message), true));
)js";

}  // namespace

std::string_view dashboard_script_begin() { return kScript; }
std::string_view dashboard_script_end() { return kScriptAfterTips; }

}  // namespace r1::dashboard
