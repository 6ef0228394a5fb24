#include "tools/report/style.h"

namespace r1::report {

namespace {

// Hues after Okabe and Ito's palette, told apart with any colour vision; darker on light and lighter on dark so that thin lines
// and small text keep a contrast of 4.5 to 1.
constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--bg:#fafaf8;--card:#fff;--soft:#f3f3f0;--ink:#1d2126;--muted:#59626c;--line:#bfc5cb;--grid:#e6e8e6;
--blue:#0067b1;--sky:#1f7fb8;--green:#007a58;--orange:#a86200;--purple:#94489a;--red:#c03d0c;--grey:#666f79;--shade:208,98,0;
--low:0,103,177;--high:192,61,12;--role-1:#dbe9f6;--role-2:#d5efcf;--role-3:#fde5c8;--role-4:#e6dcf1;--role-5:#e4e4e4;
--role-6:#fbd3d0;--role-7:#d0efec;--role-8:#fff3bf}
@media (prefers-color-scheme:dark){:root{--bg:#121518;--card:#1a1e22;--soft:#22272c;--ink:#e4e7ea;--muted:#9da7b1;--line:#4a535c;
--grid:#2a3036;--blue:#62b5f3;--sky:#8ecbf0;--green:#43c79c;--orange:#efb043;--purple:#d79ddb;--red:#f68d62;--grey:#a7b0b9;
--shade:240,160,60;--low:80,170,240;--high:245,130,80;--role-1:#233a50;--role-2:#233f27;--role-3:#4a3618;--role-4:#372b48;
--role-5:#33383d;--role-6:#4d2825;--role-7:#1c4340;--role-8:#463f16}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main,header,footer{max-width:1480px;margin:0 auto;padding:0 clamp(14px,2.6vw,40px)}
header{padding-top:30px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:46px 0 6px;letter-spacing:-.005em}
h3{font-size:16px;margin:30px 0 2px}
h4{font-size:14px;margin:18px 0 6px}
p{margin:6px 0 10px;max-width:78ch}
.lead{font-size:17px;line-height:1.55;margin:14px 0 18px;max-width:88ch}
.sub,.legend,.note{color:var(--muted);font-size:13.5px}
.legend,.sub.wide{max-width:130ch}
code{font:12.5px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--blue)}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding:10px 0;border-top:1px solid var(--grid);border-bottom:1px solid var(--grid);font-size:14px}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,max-content));gap:8px 34px;margin:12px 0 18px}
dl.facts dt{color:var(--muted);font-size:12.5px}
dl.facts dd{margin:0;font-size:14.5px;overflow-wrap:anywhere;max-width:60ch}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:12px}
.chip{display:inline-block;font-size:11.5px;font-weight:600;line-height:1.5;padding:0 7px;border-radius:9px;color:var(--c);border:1px solid var(--c);white-space:nowrap;vertical-align:1px}
.state{color:var(--muted);font-weight:400;font-size:13px}
.c-blue,.k-rl{--c:var(--blue)}.c-sky,.k-sam{--c:var(--sky)}.c-green,.k-dis{--c:var(--green)}.c-orange,.k-sft{--c:var(--orange)}
.c-purple,.k-rm{--c:var(--purple)}.c-red{--c:var(--red)}.c-grey,.k-pre,.k-model{--c:var(--grey)}.c-rule{--c:var(--muted)}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--ink);font-family:inherit}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr));gap:14px;margin:10px 0}
.chart{display:flex;flex-direction:column;justify-content:space-between;margin:0;background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:8px 10px 4px;position:relative;min-width:0}
figcaption{font-size:13px;line-height:1.4;margin-bottom:2px;min-height:1.4em}
figcaption span{color:var(--muted)}
figcaption .keys{display:block}
figcaption .key{white-space:nowrap;margin-right:8px;color:var(--c)}
.key:before{content:"";display:inline-block;width:8px;height:8px;border-radius:2px;background:var(--c);margin-right:4px}
.grid,.axis{fill:none;stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--line)}
svg .tick{fill:var(--muted);font-size:10.5px;font-variant-numeric:tabular-nums}
svg .label{fill:var(--c);font-size:11px;font-weight:600;font-variant-numeric:tabular-nums}
.line{fill:none;stroke:var(--c);stroke-width:1.7;stroke-linejoin:round;stroke-linecap:round}
.raw{fill:none;stroke:var(--c);stroke-width:.8;opacity:.3}
.range{fill:var(--c);opacity:.17}
.rule{fill:none;stroke:var(--muted);stroke-width:1;stroke-dasharray:3 3}
.fill,.dot{fill:var(--c)}
.fill{opacity:.82}
.hollow{fill:var(--card);stroke:var(--c);stroke-width:1.3}
.way{fill:none;stroke:var(--c);stroke-width:2.4;opacity:.45}
.heat{shape-rendering:crispEdges}
.h0{--h:rgba(var(--low),.95)}.h1{--h:rgba(var(--low),.6)}.h2{--h:rgba(var(--low),.28)}.h3{--h:var(--soft)}
.h4{--h:rgba(var(--high),.3)}.h5{--h:rgba(var(--high),.62)}.h6{--h:rgba(var(--high),.95)}
.heat{fill:var(--h)}
.swatch{white-space:nowrap;margin-right:10px}
.heat-key{display:inline-block;width:12px;height:12px;background:var(--h);border:1px solid var(--grid);margin-right:4px;vertical-align:-1px}
.dumbbell{width:80px;height:12px}
.tip-line{stroke:var(--muted);stroke-width:1;opacity:.6}
.tip-box{position:absolute;pointer-events:none;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:3px 8px;font-size:12px;line-height:1.45;white-space:nowrap;z-index:2;font-variant-numeric:tabular-nums}
.tip-box b{color:var(--c);font-weight:600}
.stages-picture{margin:0 auto}
.box{fill:var(--c);fill-opacity:.1;stroke:var(--c);stroke-width:1.2}
.box.waiting{stroke-dasharray:4 3;fill-opacity:.03}
.flow{fill:none;stroke:var(--muted);stroke-width:1.1;opacity:.75}
.tip{fill:var(--muted)}
svg .box-title{font-size:12px;font-weight:600}
svg .box-kind{font-size:10.5px;fill:var(--muted)}
svg .box-note{font-size:10.5px;font-variant-numeric:tabular-nums}
a:hover .box{fill-opacity:.2}
.actors-picture{width:auto;height:auto;max-width:none}
.actors-picture,.actors-picture a{color:var(--ink)}
.actors-picture text{fill:currentColor}
.actors-scroll{max-height:78vh;overflow:auto}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;background:var(--card)}
th{font-weight:600;text-align:left;color:var(--muted);font-size:12.5px;vertical-align:bottom;white-space:nowrap}
th,td{padding:5px 16px 5px 0;border-bottom:1px solid var(--grid)}
tbody tr:last-child td{border-bottom:0}
td{vertical-align:top}
td.fixed{white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}
.stage-table td.wide{min-width:170px}
.stage-table td,.stage-table th{padding-right:6px}
.stage-table .dumbbell{width:70px}
.stage-table th.n{white-space:normal}
td .ba{white-space:nowrap}
td i{font-style:normal;color:var(--muted)}
td .stage-name{font-weight:600}
td .label-text{color:var(--muted);font-size:12.5px;display:block;max-width:27ch;line-height:1.35}
.bar{display:block;height:7px;border-radius:2px;background:var(--c);opacity:.85;min-width:1px;margin-top:5px}
table.filled{width:100%}
.bar-cell{min-width:104px;width:16%}
.ok{color:var(--green);font-weight:600}.bad,td .label-text.bad{color:var(--red);font-weight:600}
.failure{border:2px solid var(--red);border-radius:8px;padding:4px 18px;margin:14px 0}.failure h2{color:var(--red);margin:8px 0}
details{margin:10px 0}
summary{cursor:pointer;color:var(--blue)}
pre{overflow-x:auto;font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:12px}
.glossary{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;font-size:13.5px;max-width:100ch}
.glossary dt{font-weight:600}.glossary dd{margin:0;color:var(--muted)}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:14px;margin:10px 0 14px}
.sample{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:9px 12px;min-width:0}
.sample .when{font-size:12.5px;color:var(--muted)}
.sample .score{font-size:12.5px;font-variant-numeric:tabular-nums;margin-top:6px;color:var(--muted)}
.sample .score b{color:var(--ink)}
.tokens{font:13px/1.75 ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono CJK SC",monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin-top:4px}
.tokens .prompt{color:var(--muted)}
.tokens .cut{color:var(--muted);font-style:italic}
.p0,.p1,.p2,.p3,.p4{border-radius:2px;color:var(--ink)}
.p1{background:rgba(var(--shade),.14)}.p2{background:rgba(var(--shade),.3)}.p3{background:rgba(var(--shade),.48)}.p4{background:rgba(var(--shade),.72)}
footer{color:var(--muted);font-size:13px;padding-top:34px;padding-bottom:40px}
@media (max-width:760px){
.stage-table thead{display:none}
.stage-table,.stage-table tbody{display:block;width:100%}
.stage-table tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(96px,1fr));gap:4px 14px;padding:10px 0;border-bottom:1px solid var(--line)}
.stage-table td{border:0;padding:2px 0;text-align:left}
.stage-table td.wide{grid-column:1/-1}
.stage-table td:empty{display:none}
.stage-table td:before{content:attr(data-label);display:block;color:var(--muted);font-size:11.5px}
.stage-table td.wide:before{content:none}
.stage-table td .label-text{max-width:none}
.pair{grid-template-columns:1fr}
.glossary{grid-template-columns:1fr}.glossary dd{margin-bottom:5px}
}
@media print{.chart,.sample,tr{break-inside:avoid}}
)css";

// Over a curve: the nearest drawn point of every line, read back from its path.
constexpr std::string_view kScript = R"js(
document.querySelectorAll('svg[data-plot]').forEach(function(s){
var f=s.dataset.plot.split(' ').map(Number),lines=[].map.call(s.querySelectorAll('.line'),function(p){
return{name:p.dataset.name,c:p.getAttribute('class').split(' ')[1],at:p.getAttribute('d').split(/[ML]/).slice(1).map(function(t){return t.split(' ').map(Number)})}});
var box,mark;function gone(){if(box){box.remove();mark.remove();box=null}}
s.addEventListener('mouseleave',gone);s.addEventListener('mousemove',function(e){
var r=s.getBoundingClientRect(),k=360/r.width,x=(e.clientX-r.left)*k;if(x<f[0]-4||x>f[0]+f[2]+4)return gone();
var near=lines.map(function(l){return l.at.reduce(function(a,b){return Math.abs(b[0]-x)<Math.abs(a[0]-x)?b:a})});if(!near.length)return;
if(!box){box=document.createElement('div');box.className='tip-box';s.parentNode.appendChild(box);
mark=document.createElementNS(s.namespaceURI,'path');mark.setAttribute('class','tip-line');s.appendChild(mark)}
var px=near[0][0];mark.setAttribute('d','M'+px+' '+f[1]+'v'+f[3]);box.textContent='batch '+Math.round(f[4]+(px-f[0])/f[2]*(f[5]-f[4]));
near.forEach(function(p,i){var d=document.createElement('div'),b=document.createElement('b');d.className=lines[i].c;
b.textContent=lines[i].name+' '+(f[7]-(p[1]-f[1])/f[3]*(f[7]-f[6])).toPrecision(3);d.appendChild(b);box.appendChild(d)});
box.style.top=(s.offsetTop||30)+'px';if(px<180){box.style.left=(px/k+18)+'px';box.style.right=''}else{box.style.right=((360-px)/k+18)+'px';box.style.left=''}})});
)js";

}  // namespace

std::string_view style_sheet() { return kStyle; }
std::string_view tooltip_script() { return kScript; }

}  // namespace r1::report
