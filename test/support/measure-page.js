/** Runs in a page, and gives what is to be measured there. */
(() => {
  const rgb = color => {
    const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? []).map(Number);
    return [red, green, blue];
  };
  const luminance = color => {
    const [red, green, blue] = color.map(value => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const backgroundOf = element => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (!/^rgba\(.*, 0\)$/.test(backgroundColor)) return backgroundColor;
    }
    return 'rgb(255, 255, 255)';
  };
  /** As the Web Content Accessibility Guidelines define it: 1 to 21. */
  const contrast = (a, b) => {
    const [light = 0, dark = 0] = [a, b].map(color => luminance(rgb(color))).sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const texts = [...document.querySelectorAll('svg text, h1, h2, p, td, th, li, figcaption, footer')]
    .filter(element => element.textContent?.trim())
    .map(element => {
      const { color, fill, fontSize } = getComputedStyle(element);
      const svg = element.closest('svg');
      const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
      return {
        text: element.textContent,
        size: Number.parseFloat(fontSize) * scale,
        contrast: contrast(svg ? fill : color, backgroundOf(element)),
      };
    });
  const charts = [...document.querySelectorAll('svg')].map(svg => {
    const { width, height } = svg.getBoundingClientRect();
    // Plot names the groups of marks, and of axes.
    const data = [...svg.querySelectorAll('g[aria-label]')].filter(
      group => !/axis|grid|rule/.test(group.getAttribute('aria-label')),
    );
    const boxes = data
      .flatMap(group => [...group.querySelectorAll('path, rect, circle, image, text')])
      .map(mark => mark.getBoundingClientRect())
      .filter(box => box.width > 0 || box.height > 0);
    const extent = (from, to) => Math.max(...boxes.map(box => box[to])) - Math.min(...boxes.map(box => box[from]));
    const cut = [...svg.querySelectorAll('text')].filter(text => {
      const [box, card] = [text.getBoundingClientRect(), svg.closest('.card').getBoundingClientRect()];
      return box.left < card.left || box.right > card.right;
    });
    return {
      label: svg.getAttribute('aria-label'),
      title: svg.querySelector('title')?.textContent,
      width,
      height,
      marks: boxes.length,
      filled: { across: extent('left', 'right') / width, down: extent('top', 'bottom') / height },
      cut: cut.map(({ textContent }) => textContent),
    };
  });
  const cards = [...document.querySelectorAll('.card')].map(card => {
    const [box, content] = [card, card.lastElementChild].map(element => element.getBoundingClientRect());
    return { title: card.querySelector('h2').textContent, blank: (box.bottom - content.bottom) / box.height };
  });
  const { scrollWidth, clientWidth } = document.documentElement;
  const background = getComputedStyle(document.body).backgroundColor;
  const bright = luminance(rgb(background));
  return { texts, charts, cards, scrollWidth, clientWidth, bright };
})();
