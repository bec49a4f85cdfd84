// How previews of references behave; sphinx-tippy says what is in them, when the page has loaded.

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// A page without mathematics of its own has no MathJax until a preview needs it.
let mathjax;
function typesetter() {
  mathjax ??= window.MathJax?.startup?.promise ?? new Promise((resolve) => {
    window.MathJax = { options: { enableMenu: false } };
    const script = document.createElement("script");
    script.src = `${document.documentElement.dataset.content_root}_static/mathjax/tex-chtml.js`;
    script.onload = () => resolve(window.MathJax.startup.promise);
    document.head.append(script);
  });
  return mathjax;
}

const preview = {
  fn: (instance) => ({
    onMount() {
      const content = instance.popper.querySelector(".tippy-content");
      const settle = () => {
        instance.popperInstance?.update();
        // What scrolls is no stop for the Tab key: it vanishes when it is left, and the reader's place with it. The link
        // itself leads to all that a preview shows.
        if (content.scrollHeight > content.clientHeight || content.scrollWidth > content.clientWidth) {
          content.tabIndex = -1;
        }
      };
      settle();
      for (const image of content.querySelectorAll("img")) image.addEventListener("load", settle, { once: true });
      if (content.querySelector(".math:not(:has(mjx-container))")) {
        typesetter().then(() => MathJax.typesetPromise([content])).then(settle);
      }
    },
  }),
};

tippy.setDefaultProps({
  // Within the article, whose styles it needs; a preview is of the article's own things.
  appendTo: () => document.querySelector(".bd-article"),
  // The link says all that its preview shows: a screen reader need not read a whole figure at each mention.
  aria: { content: null, expanded: false },
  delay: [300, 100],
  duration: still ? 0 : [120, 80],
  plugins: [preview],
  touch: ["hold", 400], // a tap follows the link
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") tippy.hideAll();
});
