"""Style and behaviour of HTML reports (`bireme.cli.html`).

On a narrow screen every row becomes a card, with the column's name before each value.
"""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --good: #18794e; --bad: #c62a2f;
  --head: #f3f3f3; --back: #fff; --text: #1a1a1a; }
@media (prefers-color-scheme: dark) { :root { --quiet: #999; --good: #4cc38a; --bad: #ff6369;
  --head: #232323; --back: #161616; --text: #eee; } }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 110rem;
  background: var(--back); color: var(--text); }
h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0; }
header p { font-weight: 600; margin: .3rem 0 0; }
.good { color: var(--good); } .bad { color: var(--bad); }
dl { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 1rem 0; }
dt { color: var(--quiet); font-size: .8rem; } dd { margin: 0; overflow-wrap: anywhere; }
.bar { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1rem;
  margin: 1.4rem 0 .5rem; }
.bar output { color: var(--quiet); }
input { font: inherit; padding: .25rem .5rem; border: 1px solid var(--line); border-radius: .3rem;
  background: var(--back); color: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { background: var(--head); position: sticky; top: 0; text-align: left; white-space: pre-line; }
th button { all: unset; cursor: pointer; padding: .35rem .6rem; font-weight: 600; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td { padding: .3rem .6rem; border-top: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 45rem) {
  .bar label, .bar input { width: 100%; }
  thead { display: flex; flex-wrap: wrap; } thead tr { display: contents; }
  th { position: static; }
  table, tbody, tr, td { display: block; }
  tr { border-top: 2px solid var(--line); padding: .4rem 0; }
  td { border: 0; padding: .1rem .3rem; text-align: left; }
  td:empty { display: none; }
  td::before { content: attr(data-label) ": "; color: var(--quiet); }
  tr[hidden] { display: none; }
}
"""

SCRIPT = """
for (const section of document.querySelectorAll("section:has(tbody)")) {
  const body = section.querySelector("tbody"), count = section.querySelector("output");
  const rows = [...body.rows], heads = [...section.querySelectorAll("th")];
  const key = (row, i) => row.cells[i].dataset.key ?? row.cells[i].textContent;
  heads.forEach((head, i) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const numbers = head.classList.contains("number");
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = (a, b) => numbers ? Number(key(a, i)) - Number(key(b, i))
      : key(a, i).localeCompare(key(b, i), undefined, { numeric: true });
    rows.sort((a, b) => down ? order(b, a) : order(a, b));
    body.append(...rows);
  }));
  section.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  });
}
"""
