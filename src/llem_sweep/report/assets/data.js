// What the page knows, and small ways to write it. Everything from outside is set as text, never as markup.
const DATA = JSON.parse(document.getElementById('data').textContent);
const POINTS = DATA.points;
const ROWS = DATA.rows;
const DIMENSIONS = DATA.dimensions;
const UNKNOWN = '–';

const byId = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, '');
    else if (value !== null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Text whose direction stays its own.
const isolated = (text) => make('bdi', {}, text);

// Plotly reads texts as markup of its own.
const plotText = (text) =>
  String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

// Names too long for an axis are cut in the middle, where they differ least.
const cut = (text, most) =>
  text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}`;

function significant(value, digits = 3) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 10 ** digits) return Math.round(value).toLocaleString('en');
  if (size < 1e-4) return value.toExponential(digits - 1);
  return value.toPrecision(digits);
}

// A figure is [value, half-width or null], or null where it is unknown. The half-width has two digits, and the value
// those that they reach to.
function withBound(figure, unit = '') {
  if (!figure) return UNKNOWN;
  const [value, half] = figure;
  const after = unit && ` ${unit}`;
  if (half === null) return `${significant(value)}${after}`;
  if (half <= Math.abs(value) * 1e-12) return `${significant(value, 6)} ± 0${after}`;
  const place = Number(half.toExponential(1).split('e')[1]) - 1;
  const decimals = Math.min(Math.max(-place, 0), 20);
  const unitOfPlace = 10 ** Math.max(place, 0);
  const at = (number) => (Math.round(number / unitOfPlace) * unitOfPlace).toLocaleString('en');
  const to = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const shown = (number) => (decimals ? number.toLocaleString('en', to) : at(number));
  return `${shown(value)} ± ${shown(half)}${after}`;
}

const figureOf = (key) => DATA.figures.find((figure) => figure.key === key);
const range = (length) => Array.from({ length }, (_, n) => n);
const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;

// What a value of a dimension is called; a point without the field has none.
const valueOf = (dimension, values) =>
  values[dimension] === null ? UNKNOWN : DIMENSIONS[dimension].values[values[dimension]];

// Plain data under a plot, for those who can't see it or want the numbers.
function dataTable(plot, caption, head, rows) {
  let box = plot.parentElement.querySelector(`details[data-of="${plot.id}"]`);
  if (!box) {
    box = make('details', { 'data-of': plot.id }, make('summary', {}, 'The same as a table'));
    plot.after(box);
    box.addEventListener('toggle', () => box.open && box.fill());
  }
  box.fill = () => {
    box.querySelector('.scroll')?.remove();
    const body = rows().map((cells) =>
      make('tr', {}, ...cells.map((cell, n) =>
        make(n ? 'td' : 'th', n ? {} : { scope: 'row' }, isolated(cell)))));
    box.append(make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
      make('table', {}, make('caption', {}, caption),
        make('thead', {}, make('tr', {}, ...head.map((name) => make('th', { scope: 'col' }, name)))),
        make('tbody', {}, ...body))));
  };
  if (box.open) box.fill();
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, label]) =>
    make('option', { value, selected: String(value) === String(chosen) }, label)));
}
