// Paper is white: a page read in the dark is printed in the light colours, and is dark again afterwards.
addEventListener("beforeprint", () => {
  const page = document.documentElement;
  const theme = page.dataset.theme;
  page.dataset.theme = "light";
  addEventListener("afterprint", () => { page.dataset.theme = theme; }, { once: true });
});
