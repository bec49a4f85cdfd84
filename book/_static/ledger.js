// The rows of the ledger by word and by verdict. Without a script the page has them all, each claim's behind a fold.
const filter = document.querySelector(".ledger-filter");
const [words, verdict, count] = ["words", "verdict", "count"].map((name) => document.querySelector(`#ledger-${name}`));
const folds = [...document.querySelectorAll("details.ledger-rows")].map((fold) => {
  const place = [...fold.querySelectorAll("thead th")].findIndex((header) => header.textContent.trim() === "Verdict");
  const section = fold.closest("section");
  const rows = [...fold.querySelectorAll("tbody tr")].map((row) => ({
    row, verdict: row.cells[place].textContent.trim(), text: `${section.querySelector("h3").textContent} ${row.textContent}`.toLowerCase(),
  }));
  return { fold, section, rows };
});

function choose() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const active = wanted.length > 0 || verdict.value !== "";
  let shown = 0, all = 0;
  for (const { fold, section, rows } of folds) {
    let here = 0;
    for (const each of rows) {
      const fits = (!verdict.value || each.verdict === verdict.value) && wanted.every((word) => each.text.includes(word));
      each.row.hidden = !fits;
      here += fits;
    }
    fold.open = active && here > 0;
    section.hidden = active && here === 0;
    shown += here;
    all += rows.length;
  }
  count.textContent = active ? `${shown} of ${all} rows, shown below the overview` : "";
}

filter.hidden = false;
words.addEventListener("input", choose);
verdict.addEventListener("change", choose);
choose();
