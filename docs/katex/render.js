/* Typesets the formulas of each page with the KaTeX that lies beside this file. */
document$.subscribe(({ body }) =>
  renderMathInElement(body, {
    delimiters: [
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
  })
);
