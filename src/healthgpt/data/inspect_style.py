"""The style of the inspection page: light and dark by the reader's setting, narrow and wide, and for print."""

STYLE = """
:root { --ground: #fbfbfa; --panel: #ffffff; --ink: #1d2430; --soft: #5a6472; --line: #dcdfe4; --accent: #0b5cad;
  --train: #2f6fb7; --validation: #b7791f; --test: #a63a6f; --warn: #fff4e0; --warn-line: #c77d0a; --good: #1d7a46; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --panel: #1c2027; --ink: #e6e9ee; --soft: #a3adba; --line: #343b46; --accent: #7db7f5;
    --train: #6aa5e8; --validation: #e0ab52; --test: #e583b3;
    --warn: #33270f; --warn-line: #d79a34; --good: #6fcf97; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
footer { color: var(--soft); font-size: .875rem; border-top: 1px solid var(--line); margin-top: 3rem;
  padding-bottom: 2rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 1rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
h4 { font-size: 1rem; margin: 1rem 0 .5rem; color: var(--soft); font-weight: 600; }
a { color: var(--accent); }
.eyebrow { margin: 0; color: var(--soft); font-size: .875rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--panel); padding: .5rem 1rem; }
.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .75rem 1rem; margin: 0 0 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: 1rem 0 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.figures div { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem;
  display: flex; flex-direction: column-reverse; }
.figures dt { color: var(--soft); font-size: .875rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
tbody th { font-weight: 500; }
thead th { color: var(--soft); font-size: .8rem; vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 0 0 1.5rem; }
.scroll td:not(.n) { min-width: 11rem; }
.legend { margin: 0 0 1rem; }
.key { margin-right: 1rem; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em;
  border-radius: .15em; }
.key.train::before { background: var(--train); }
.key.validation::before { background: var(--validation); }
.key.test::before { background: var(--test); }
rect.train { fill: var(--train); }
rect.validation { fill: var(--validation); }
rect.test { fill: var(--test); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 2rem 3rem; }
.bars th, .bars td { border: 0; padding: .12rem .6rem .12rem 0; vertical-align: middle; font-size: .875rem; }
.bars tbody th { width: 34%; font-weight: 400; }
.bars .draw { width: 44%; }
.bars svg { display: block; width: 100%; height: .85rem; }
.hidden th { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem; min-width: 0;
  font-size: .9rem; }
.card h4 { margin-top: 0; }
@media (min-width: 44rem) { .card.wide { grid-column: span 2; } }
.pair { display: flex; gap: .6rem; }
figure { margin: 0; flex: 1 1 0; min-width: 0; }
figure img, .missing { display: block; width: 100%; height: 11rem; object-fit: contain; background: #000;
  border-radius: .25rem; }
figure + figure img, figure:has(+ figure) img { height: auto; aspect-ratio: 1; }
.missing { background: none; border: 1px dashed var(--line); color: var(--soft); height: auto; min-height: 4rem;
  padding: .6rem; }
figcaption { color: var(--soft); font-size: .8rem; margin-top: .2rem; }
dl { margin: .5rem 0 0; }
.card dt { color: var(--soft); font-size: .75rem; margin-top: .4rem; }
.card dd { margin: 0; white-space: pre-line; }
.card ol { margin: .1rem 0; padding-left: 1.5rem; list-style: upper-alpha; }
.right { font-weight: 600; color: var(--good); }
.note, .more, .licence { color: var(--soft); font-size: .8rem; margin: .4rem 0 0; }
summary { cursor: pointer; color: var(--soft); font-size: .8rem; margin-top: .5rem; }
code { font-size: .9em; }
@media (max-width: 34rem) { header, main, footer { padding-left: .9rem; padding-right: .9rem; }
  .bars tbody th { width: 40%; } .bars .draw { width: 30%; } h1 { font-size: 1.6rem; } }
@media print { :root { --ground: #fff; --panel: #fff; --ink: #000; --soft: #444; --line: #bbb; --train: #2f6fb7;
    --validation: #b7791f; --test: #a63a6f; --warn: #fff; --warn-line: #000; --good: #000; --accent: #000; }
  nav, .skip { display: none; } .scroll { overflow: visible; } .scroll table { font-size: 8pt; }
  .scroll td:not(.n) { min-width: 0; } caption { break-after: avoid; } body { font-size: 10pt; }
  .card, figure, tr, .charts > div { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; } .cards { grid-template-columns: repeat(4, 1fr); gap: .5rem; }
  .charts { grid-template-columns: 1fr 1fr; } figure img { height: 8rem; }
  rect, .key::before, figure img { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
