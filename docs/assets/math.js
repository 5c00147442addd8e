// Equations, in pages and in notebooks: KaTeX, from this site.
const delimiters = [
  { left: "$$", right: "$$", display: true },
  { left: "\\[", right: "\\]", display: true },
  { left: "\\begin{aligned}", right: "\\end{aligned}", display: true },
  { left: "$", right: "$", display: false },
  { left: "\\(", right: "\\)", display: false },
];
for (const part of document.querySelectorAll(".arithmatex, .jp-RenderedMarkdown")) {
  renderMathInElement(part, { delimiters, throwOnError: true });
}
