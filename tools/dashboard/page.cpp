#include "tools/dashboard/page.h"

#include <fmt/format.h>

#include "tools/report/html.h"
#include "tools/report/style.h"

namespace r1::dashboard {

namespace {

constexpr std::string_view kStyle = R"css(
header{padding-top:22px}
#state{font-size:13px;color:var(--muted)}
#state.gone{color:var(--red);font-weight:600}
.stage{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:12px 16px;margin:12px 0}
.stage h3{margin:0 0 4px}
.numbers{display:flex;flex-wrap:wrap;gap:4px 30px;margin:8px 0}
.numbers div{min-width:74px}
.numbers dt,.numbers b{display:block}
.numbers span{color:var(--muted);font-size:12.5px;display:block}
.numbers b{font-size:18px;font-weight:600;font-variant-numeric:tabular-nums}
.progress{height:6px;border-radius:3px;background:var(--soft);overflow:hidden;margin:6px 0}
.progress i{display:block;height:100%;background:var(--c)}
.actors{overflow-x:auto}
.actors svg{min-width:640px}
.node{fill:var(--soft);stroke:var(--line);stroke-width:1.2}
.node.work{fill:var(--c);fill-opacity:.16;stroke:var(--c);stroke-width:1.6}
.node.over{stroke-dasharray:4 3;opacity:.7}
svg .id{font-size:12px;font-weight:600}
svg .says{font-size:10.5px;fill:var(--muted)}
svg .says.waits{fill:var(--orange)}
.edge{fill:none;stroke:var(--line);stroke-width:1.6}
.edge.moves{stroke:var(--c)}
.edge.full{stroke:var(--orange)}
.edge.weights{stroke-dasharray:5 3}
.arrow{fill:var(--line)}
.meter{fill:var(--grid)}
.meter-fill{fill:var(--c)}
.meter-fill.full{fill:var(--orange)}
svg .rate{font-size:11px;font-variant-numeric:tabular-nums}
svg .fill-text{font-size:10px;fill:var(--muted);font-variant-numeric:tabular-nums}
.busy{display:grid;grid-template-columns:max-content minmax(90px,220px) max-content;gap:2px 12px;align-items:center;font-size:13px;margin:8px 0 2px}
.busy .bar{margin:0;height:8px}
.busy span:nth-child(3n){color:var(--muted);font-variant-numeric:tabular-nums}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:0 30px}
button,select,input{font:inherit;font-size:13.5px;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:6px;padding:3px 9px}
button{cursor:pointer}
button:hover:enabled{border-color:var(--blue);color:var(--blue)}
button:disabled{opacity:.45;cursor:default}
button.draw{padding:0 7px;min-width:44px}
.ask{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin:8px 0}
.ask label{font-size:13px;color:var(--muted)}
#draw{width:90px}
td.text{color:var(--muted);font-size:12.5px;overflow-wrap:anywhere}
.group{grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr))}
#part-pipeline h2,#part-stages h2{margin-top:30px}
:focus-visible{outline:2px solid var(--blue);outline-offset:1px}
)css";

constexpr const char* kBody = R"html(<header>
<h1 id="name">{graph}</h1>
<p class="sub"><span id="state" role="status">connecting …</span></p>
<dl class="facts" id="facts"></dl>
<nav><a href="#now">Now</a><a href="#pipeline">Pipeline</a><a href="#stages">Stages</a><a href="#curves">Curves</a><a href="#trajectories">Trajectories</a><a href="#hosts">Hosts and waits</a><a href="metrics">Metrics</a></nav>
</header>
<main>
<noscript><p class="failure">This page is drawn by its script. report.html in the run directory needs none.</p></noscript>
<section id="now"><h2>Now</h2><div id="running"></div></section>
<div id="part-pipeline"></div>
<div id="part-stages"></div>
<section id="curves"><h2>Curves</h2>
<p class="ask"><label for="curve-stage">stage</label><select id="curve-stage"></select></p>
<div id="part-curves"></div></section>
<section id="trajectories"><h2>Trajectories</h2>
<p class="ask"><label for="of-stage">stage</label><select id="of-stage"></select>
<label for="order">show</label><select id="order"><option value="last">the last</option><option value="first">the first</option><option value="best">the best</option><option value="worst">the worst</option></select>
<label for="outcome">of</label><select id="outcome"><option value="">all</option></select>
<button id="show">show</button><button id="more" disabled>more</button>
<label for="draw">draw</label><input id="draw" inputmode="numeric" placeholder="number"><button id="one">open</button></p>
<div id="list"></div><div id="group"></div></section>
<section id="hosts"><h2>Hosts and waits</h2><div class="columns"><div><h3>Processes</h3><div id="processes"></div></div>
<div><h3>Who waits for whom</h3><div id="waits"></div></div></div></section>
</main>
<footer>Read-only; served by r1-run while it runs. <code>r1-shell</code> looks closer and steers.</footer>
)html";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

}  // namespace

std::string page_policy(const std::string& nonce) {
  return fmt::format(
      "Content-Security-Policy: default-src 'none'; script-src 'nonce-{}'; style-src 'unsafe-inline'; connect-src 'self'; "
      "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      nonce);
}

std::string dashboard_page(const std::string& graph, const std::string& nonce) {
  // An empty picture as icon: browsers would ask for one.
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{}: a run at "
      "work</title>\n<style>{}{}</style>\n</head>\n<body>\n{}<script nonce=\"{}\">{}{}{}</script>\n</body>\n</html>\n",
      report::escaped(graph), report::style_sheet(), kStyle, with(kBody, "{graph}", report::escaped(graph)), nonce,
      dashboard_script_begin(), report::tooltip_script(), dashboard_script_end());
}

}  // namespace r1::dashboard
