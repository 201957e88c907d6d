// Every experiment, sortable, a page at a time.
const COLUMNS = [
  { head: 'Experiment', text: (n) => ROWS.label[n], key: (n) => ROWS.label[n], name: true },
  { head: 'Cycle', text: (n) => String(ROWS.cycle[n]), key: (n) => ROWS.cycle[n], number: true },
  { head: 'Status', text: (n) => ROWS.status[n], key: (n) => ROWS.status[n], style: (n) => `status-${ROWS.status[n]}` },
  { head: 'J per token', text: (n) => bounded('avg_energy_per_token_j', 'avg_energy_per_token_uncertainty_j', n), key: (n) => ROWS.avg_energy_per_token_j[n], number: true },
  { head: 'Tokens/s', text: (n) => significant(ROWS.avg_tokens_per_second[n]), key: (n) => ROWS.avg_tokens_per_second[n], number: true },
  { head: 'Energy in J', text: (n) => bounded('total_energy_j', 'energy_uncertainty_j', n), key: (n) => ROWS.total_energy_j[n], number: true },
  { head: 'Without idle in J', text: (n) => bounded('energy_adjusted_j', 'energy_adjusted_uncertainty_j', n), key: (n) => ROWS.energy_adjusted_j[n], number: true },
  { head: 'Window in s', text: (n) => significant(ROWS.total_inference_time_sec[n]), key: (n) => ROWS.total_inference_time_sec[n], number: true },
  { head: 'Tokens in / out', text: (n) => (ROWS.output_tokens[n] === null ? UNKNOWN : `${ROWS.input_tokens[n].toLocaleString('en')} / ${ROWS.output_tokens[n].toLocaleString('en')}`), key: (n) => ROWS.output_tokens[n], number: true },
  { head: 'Numbers', text: (n) => ROWS.measured[n] ?? UNKNOWN, key: (n) => ROWS.measured[n], style: (n) => (ROWS.measured[n] === 'measured' ? '' : 'no-measurement') },
  { head: 'Publishable', text: (n) => (ROWS.publishable[n] === null ? UNKNOWN : ROWS.publishable[n] ? 'yes' : 'no'), key: (n) => ROWS.publishable[n] },
  { head: 'Warnings', text: (n) => ROWS.warnings[n].join(', ') || ROWS.failure[n] || '', key: (n) => ROWS.warnings[n].length, style: () => 'long' },
  { head: 'Boards', text: (n) => ROWS.boards[n] || UNKNOWN, key: (n) => ROWS.boards[n], style: () => 'long' },
  { head: 'Identity', text: (n) => ROWS.experiment_id[n], key: (n) => ROWS.experiment_id[n] },
  { head: 'Node', text: (n) => ROWS.node[n] ?? UNKNOWN, key: (n) => ROWS.node[n] },
  { head: 'Files', link: true, text: (n) => ROWS.folder[n] ?? UNKNOWN, key: (n) => ROWS.folder[n] },
];
const sorting = { column: null, down: false };
let page = 0;

const bounded = (value, bound, n) => withBound(ROWS[value][n] === null ? null : [ROWS[value][n], ROWS[bound][n]]);

function buildTable() {
  const heads = COLUMNS.map((column, at) => {
    const button = make('button', { type: 'button' }, column.head, make('span', { 'aria-hidden': 'true' }, ''));
    button.addEventListener('click', () => {
      sorting.down = sorting.column === at && !sorting.down;
      sorting.column = at;
      page = 0;
      drawTable();
    });
    return make('th', { scope: 'col', class: column.number ? 'n' : null }, button);
  });
  byId('experiments').tHead.replaceChildren(make('tr', {}, ...heads));
  byId('find').addEventListener('input', () => { page = 0; drawTable(); });
  byId('page-size').addEventListener('change', () => { page = 0; drawTable(); });
  byId('page-back').addEventListener('click', () => { page -= 1; drawTable(); });
  byId('page-on').addEventListener('click', () => { page += 1; drawTable(); });
}

function sorted(rows) {
  if (sorting.column === null) return rows;
  const { key } = COLUMNS[sorting.column];
  const way = sorting.down ? -1 : 1;
  const order = (a, b) => (typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a - b);
  // What is unknown stays last, whichever way.
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a) ?? null, key(b) ?? null];
    if (x === null || y === null) return (x === null) - (y === null);
    return way * order(x, y);
  });
}

function found(rows) {
  const wanted = byId('find').value.trim().toLowerCase();
  return wanted ? rows.filter((n) => COLUMNS.some((column) => column.text(n).toLowerCase().includes(wanted))) : rows;
}

function tableCell(column, n) {
  if (column.link && ROWS.href[n]) {
    return make('td', {}, make('a', { href: ROWS.href[n] }, isolated(cut(ROWS.folder[n], 28))));
  }
  const kind = [column.number ? 'n' : '', column.style ? column.style(n) : ''].join(' ').trim();
  // What is cut on the screen is whole in its title, and in the page.
  const attributes = column.name ? { scope: 'row' } : { class: kind || null, title: kind === 'long' ? column.text(n) : null };
  return make(column.name ? 'th' : 'td', attributes, isolated(column.text(n)));
}

function drawTable() {
  const rows = sorted(found(shownRows()));
  const size = Number(byId('page-size').value);
  const pages = Math.max(1, Math.ceil(rows.length / size));
  page = Math.min(Math.max(page, 0), pages - 1);
  const visible = rows.slice(page * size, (page + 1) * size);
  byId('experiments').tBodies[0].replaceChildren(...visible.map((n) =>
    make('tr', {}, ...COLUMNS.map((column) => tableCell(column, n)))));
  [...byId('experiments').tHead.rows[0].cells].forEach((head, at) => {
    const on = sorting.column === at;
    if (on) head.setAttribute('aria-sort', sorting.down ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
    head.querySelector('span').textContent = on ? (sorting.down ? ' ▼' : ' ▲') : '';
  });
  byId('table-note').textContent = rows.length
    ? `Experiments ${(page * size + 1).toLocaleString('en')} to ${(page * size + visible.length).toLocaleString('en')} of ${rows.length.toLocaleString('en')}`
    : 'No experiment is shown.';
  byId('page-back').disabled = page === 0;
  byId('page-on').disabled = page >= pages - 1;
}
