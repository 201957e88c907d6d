// Puts the page together.
const dark = window.matchMedia('(prefers-color-scheme: dark)');

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  byId('theme').setAttribute('aria-pressed', String(theme === 'dark'));
}

function drawPlots() {
  drawTradeoff();
  drawBars();
  drawMap();
  drawPhases();
  drawDevices();
  drawTimeline();
}

function choices() {
  const dimensions = DIMENSIONS.map((dimension, n) => [n, dimension.name]);
  const varied = DIMENSIONS.map((dimension, n) => [dimension.values.length, n]).filter(([number]) => number > 1).map(([, n]) => n);
  const [first, second] = [varied[0] ?? 0, varied[1] ?? varied[0] ?? 0];
  options(byId('colour'), dimensions, first);
  options(byId('map-x'), dimensions, second);
  options(byId('map-y'), dimensions, first);
  const figures = DATA.figures.map((figure) => [figure.key, `${figure.label} (${figure.unit})`]);
  options(byId('bar-figure'), figures, figures[0][0]);
  options(byId('map-figure'), figures, figures[0][0]);
  const redraw = { colour: drawTradeoff, scales: drawTradeoff, 'bar-figure': drawBars, 'bar-order': drawBars, 'map-x': drawMap, 'map-y': drawMap, 'map-figure': drawMap };
  for (const [id, again] of Object.entries(redraw)) byId(id).addEventListener('change', again);
}

function start() {
  paint(dark.matches ? 'dark' : 'light');
  dark.addEventListener('change', () => { paint(dark.matches ? 'dark' : 'light'); drawPlots(); });
  byId('theme').addEventListener('click', () => {
    paint(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
    drawPlots();
  });
  choices();
  buildFilters();
  buildTimeline();
  buildTable();
  listeners.push(drawTiles, drawTradeoff, drawBars, drawMap, drawPhases, () => { page = 0; drawTable(); });
  changed();
  drawDevices();
  drawTimeline();
  // Where plotly measures texts; nothing to be read out.
  byId('js-plotly-tester')?.setAttribute('aria-hidden', 'true');
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    // Labels are cut to the width; the height of a phone's window changes with every scroll.
    if (width === window.innerWidth) return;
    width = window.innerWidth;
    drawPlots();
  });
  document.documentElement.dataset.ready = 'yes';
}

start();
