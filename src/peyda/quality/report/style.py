"""The report page's style: light and dark by what the reader's system says, narrow screens, print."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f7; --ink: #1d1b19; --soft: #625d57; --card: #fff; --line: #dedad3;
  --kept: #2f7d6b; --other: #c9705a; --cut: #8a1f4b; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161514; --ink: #f0ede8; --soft: #aca59c; --card: #211f1d; --line: #3a3733;
    --kept: #55b39c; --other: #d9806a; --cut: #ff9cc4; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem); max-width: 82rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 Vazirmatn, system-ui, "Noto Sans", "Noto Sans Arabic", Tahoma, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; overflow-wrap: anywhere; }
p { margin: .25rem 0; color: var(--soft); }
strong { color: var(--ink); }
.chart { display: block; width: 100%; max-width: 60rem; height: auto; }
.chart text { fill: var(--soft); font-size: 12px; }
.chart .kept, .swatch.kept { fill: var(--kept); background: var(--kept); }
.chart .other, .swatch.other { fill: var(--other); background: var(--other); }
.chart .axis { stroke: var(--soft); }
.chart .grid { stroke: var(--line); }
.chart line.cut { stroke: var(--cut); stroke-width: 2; stroke-dasharray: 5 3; }
.chart text.cut { fill: var(--cut); font-weight: 600; }
.legend { margin: .25rem 0 1rem; }
.swatch { display: inline-block; width: .9rem; height: .9rem; margin: 0 .35rem 0 .9rem; border-radius: .2rem;
  vertical-align: -.1rem; print-color-adjust: exact; }
.swatch:first-child { margin-left: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
thead th { color: var(--soft); }
th:first-child, td.text { text-align: left; }
td.text { color: var(--soft); min-width: 15rem; }
td.bars { width: 14rem; min-width: 8rem; }
td.small { min-width: 13rem; width: 22rem; }
td.small .chart text { font-size: 13px; }
.bar { display: block; height: .8rem; min-width: 2px; background: var(--other); border-radius: .2rem;
  print-color-adjust: exact; }
.samples { list-style: none; margin: .75rem 0 0; padding: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.samples li { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; overflow: hidden;
  border-top: 3px solid var(--kept); break-inside: avoid; display: flex; flex-direction: column; }
.samples li.other { border-top-color: var(--other); }
.samples img, .gone { display: block; width: 100%; height: 12rem; object-fit: cover; background: var(--line); }
.gone { display: grid; place-content: center; color: var(--soft); }
.words { padding: .6rem .9rem .7rem; display: flex; flex-direction: column; flex: 1; gap: .15rem; }
.fa { color: var(--ink); font-size: 1.08rem; line-height: 1.8; text-align: right; overflow-wrap: anywhere; }
.en { overflow-wrap: anywhere; font-size: .95rem; }
.facts { display: flex; flex-wrap: wrap; gap: .15rem .8rem; margin-top: auto; padding-top: .3rem; font-size: .82rem; }
.score { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.name { overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .chart text { font-size: 19px; }
  .bars, thead th.bars { display: none; }
  th, td { padding: .35rem .5rem; }
}
@media print { body { padding: 0; max-width: none; } }
"""
