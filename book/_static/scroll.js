// What scrolls sideways can be scrolled from the keyboard. The theme sees to code and tables, this to formulas.
async function reach() {
  await window.MathJax?.startup?.promise;
  for (const formula of document.querySelectorAll("mjx-container[display]")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
}
addEventListener("load", reach);
addEventListener("resize", reach);
