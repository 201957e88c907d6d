// Which points and experiments are shown: one kind of measurement at a time, and the values ticked.
const chosen = DIMENSIONS.map((dimension) => new Set(range(dimension.values.length)));
const WORDS = [...new Set(DATA.kinds.map((kind) => kind.words))];
let words = WORDS.find((each) => each === 'measured') ?? WORDS[0];
const listeners = [];

const passes = (values) =>
  DIMENSIONS.every((_, n) => values[n] === null || chosen[n].has(values[n]));

const shownPoints = () =>
  range(POINTS.label.length).filter((n) => DATA.kinds[POINTS.kind[n]].words === words && passes(POINTS.values[n]));

const shownRows = () =>
  range(ROWS.label.length).filter((n) => (ROWS.measured[n] ?? words) === words && passes(ROWS.values[n]));

function changed() {
  const points = shownPoints().length;
  const rows = shownRows().length;
  byId('counted').textContent =
    `${count(points, 'configuration')} of ${POINTS.label.length.toLocaleString('en')}, ` +
    `${count(rows, 'experiment')} of ${ROWS.label.length.toLocaleString('en')}`;
  document.querySelectorAll('.mark').forEach((mark) => {
    mark.textContent = words === undefined || words === 'measured' ? '' : `${words}: no measurement`;
  });
  listeners.forEach((listener) => listener());
}

function buildFilters() {
  if (WORDS.length > 1) {
    const select = make('select', { id: 'kind' });
    options(select, WORDS.map((each) => [each, each === 'measured' ? each : `${each}: no measurement`]), words);
    select.addEventListener('change', () => { words = select.value; changed(); });
    byId('kind-choice').append(make('div', { class: 'row' }, make('label', {}, 'Numbers that are ', select)));
  }
  DIMENSIONS.forEach((dimension, n) => {
    if (dimension.values.length < 2) return;
    const chips = dimension.values.map((value, index) => {
      const box = make('input', { type: 'checkbox', checked: true });
      box.addEventListener('change', () => {
        if (box.checked) chosen[n].add(index);
        else chosen[n].delete(index);
        changed();
      });
      return make('label', { class: 'chip' }, box, isolated(value));
    });
    byId('dimensions').append(
      make('fieldset', {}, make('legend', {}, isolated(dimension.name)), make('div', { class: 'chips' }, ...chips)));
  });
  byId('reset').addEventListener('click', () => {
    document.querySelectorAll('#dimensions input').forEach((box) => { box.checked = true; });
    chosen.forEach((set, n) => range(DIMENSIONS[n].values.length).forEach((index) => set.add(index)));
    changed();
  });
}

function tile(name, value, unit, where) {
  return make('div', { class: 'tile' }, make('p', { class: 'name' }, name),
    make('p', { class: 'value' }, value, ' ', make('small', {}, unit)),
    make('p', { class: 'where' }, isolated(where)));
}

function drawTiles() {
  const points = shownPoints();
  const least = (key, sign) => points.filter((n) => POINTS[key][n])
    .sort((a, b) => sign * (POINTS[key][a][0] - POINTS[key][b][0]))[0];
  const note = words === 'measured' || words === undefined ? '' : ` (${words}: no measurement)`;
  const tiles = [];
  const thrifty = least('energy_per_token_j', 1);
  if (thrifty !== undefined) {
    tiles.push(tile(`Least energy${note}`, withBound(POINTS.energy_per_token_j[thrifty]), 'J/token', POINTS.label[thrifty]));
  }
  const fast = least('tokens_per_second', -1);
  if (fast !== undefined) {
    tiles.push(tile(`Fastest${note}`, withBound(POINTS.tokens_per_second[fast]), 'tokens/s', POINTS.label[fast]));
  }
  const front = points.filter((n) => POINTS.front[n]).length;
  tiles.push(tile('On the Pareto front', String(front), `of ${points.length}`, 'neither faster nor thriftier is another of its kind'));
  const rows = shownRows().filter((n) => ROWS.status[n] === 'completed');
  const fit = rows.filter((n) => ROWS.publishable[n]).length;
  tiles.push(tile('Publishable results', String(fit), `of ${rows.length}`, 'by fixed rules over warnings and bounds'));
  byId('tiles').replaceChildren(...tiles);
}
