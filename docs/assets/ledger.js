// The ledger's filter: a row stays if it is what every list asks for.
const ledger = document.querySelector("#ledger");
if (ledger) {
  const rows = [...ledger.querySelectorAll("details.row")];
  const lists = [...ledger.querySelectorAll("select")];
  const show = () => {
    for (const row of rows) {
      row.hidden = lists.some((list) => list.value && row.dataset[list.name] !== list.value);
    }
    for (const section of ledger.querySelectorAll("section")) {
      section.hidden = !section.querySelector("details.row:not([hidden])");
    }
    ledger.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  ledger.addEventListener("change", show);
  show();
}
