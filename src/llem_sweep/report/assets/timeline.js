// Power and temperature of one experiment, its phases as bands.
const BANDS = {
  baseline: '#7f7f7f', context: '#7f7f7f', idle: '#7f7f7f', load: '#b58900', 'warm-up': '#cc79a7', settle: '#cc79a7',
  prefill: '#d55e00', decode: '#0072b2', 'prefill and decode': '#0072b2', cool: '#56b4e9',
};

const timed = () => Object.keys(DATA.timelines.shown).map(Number);
const rowName = (n) => `${ROWS.label[n]}, cycle ${ROWS.cycle[n]}`;

function buildTimeline() {
  const select = byId('experiment');
  options(select, timed().map((n) => [n, rowName(n)]), timed()[0]);
  const step = (by) => { select.selectedIndex += by; drawTimeline(); };
  select.addEventListener('change', drawTimeline);
  byId('part').addEventListener('change', drawTimeline);
  byId('previous').addEventListener('click', () => step(-1));
  byId('next').addEventListener('click', () => step(1));
}

function timelineNote(time) {
  const { completed, chosen, absent } = DATA.timelines;
  const notes = [];
  if (time) {
    notes.push(`Seconds from the start of the measured window; ${time.reading === 'power_w' ? "the board's own average power" : 'instant power'}, thinned so that every peak stays.`);
  }
  if (chosen < completed) {
    notes.push(`${completed - chosen} of ${count(completed, 'experiment')} have no timeline here, to keep the page small: llem-sweep report DIR --timelines ${completed} shows all; the samples are in timeseries.parquet in each folder.`);
  }
  const missing = Object.entries(absent);
  if (missing.length) {
    notes.push(`${count(missing.length, 'timeline')} can't be shown, for example of ${rowName(Number(missing[0][0]))}: ${missing[0][1]}.`);
  }
  return notes.join(' ');
}

function drawTimeline() {
  const select = byId('experiment');
  const n = timed()[select.selectedIndex];
  const time = n === undefined ? null : DATA.timelines.shown[n];
  byId('timeline-note').textContent = timelineNote(time);
  byId('previous').disabled = select.selectedIndex <= 0;
  byId('next').disabled = select.selectedIndex >= select.options.length - 1;
  showFields(n);
  const only = time ? partOf(time) : null;
  const traces = [];
  (time?.boards ?? []).forEach((board, at) => {
    const colour = PALETTE[at % PALETTE.length];
    const name = plotText(`board ${board.index}`);
    [['power', 'y', 'W'], ['temperature', 'y2', '°C']].forEach(([key, axis, unit]) => {
      const [x, y] = board[key];
      if (!x.length) return;
      traces.push({
        type: 'scatter', mode: 'lines', x, y, name, legendgroup: name, showlegend: key === 'power', xaxis: 'x', yaxis: axis,
        line: { color: colour, width: 1.5, dash: SERIES_DASH[at % SERIES_DASH.length] },
        hovertext: y.map((value, each) => plotText(`${board.uuid}: ${significant(value)} ${unit} at ${x[each]} s`)), hoverinfo: 'text',
      });
    });
  });
  const shapes = [];
  const annotations = [];
  (time?.bands ?? []).forEach(([phase, start, end]) => {
    if (only && (end < only[0] || start > only[1])) return;
    shapes.push({ type: 'rect', xref: 'x', yref: 'paper', x0: start, x1: end, y0: 0, y1: 1, fillcolor: BANDS[phase] ?? '#7f7f7f', opacity: 0.13, line: { width: 0 }, layer: 'below' });
  });
  if (time?.window) {
    time.window.forEach((at) => shapes.push({ type: 'line', xref: 'x', yref: 'paper', x0: at, x1: at, y0: 0, y1: 1, line: { color: style('--ink'), width: 1, dash: 'dash' } }));
    annotations.push({ xref: 'x', yref: 'paper', x: time.window[0], y: 1, yanchor: 'bottom', xanchor: 'left', text: 'measured window', showarrow: false, font: { size: 12 } });
  }
  const phases = [...new Set((time?.bands ?? []).map(([phase]) => phase))];
  phases.forEach((phase) => traces.push({
    type: 'scatter', mode: 'markers', x: [null], y: [null], name: plotText(phase), hoverinfo: 'skip',
    marker: { symbol: 'square', size: 11, opacity: 0.45, color: BANDS[phase] ?? '#7f7f7f' },
  }));
  draw('plot-timeline', time && traces.length ? traces : [], layout({
    height: 480, shapes, annotations, hovermode: 'closest',
    margin: { l: 56, r: 16, t: 60, b: 48 }, legend: { orientation: 'h', y: 1.08, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false, traceorder: 'normal' },
    xaxis: { title: { text: 'seconds from the start of the window' }, anchor: 'y2', range: only ?? undefined, autorange: !only },
    yaxis: { title: { text: 'power in W' }, domain: [0.36, 1], rangemode: 'tozero' },
    yaxis2: { title: { text: '°C' }, domain: [0, 0.28] },
  }), {
    caption: n === undefined ? 'Timeline' : `Power and temperature of ${rowName(n)}`,
    empty: 'No experiment has a timeline here.',
    head: ['Phase', 'From in s', 'To in s', ...(time?.boards ?? []).map((board) => `Board ${board.index}: least to greatest power in W`)],
    rows: () => (time?.bands ?? []).map(([phase, start, end]) => [phase, String(start), String(end),
      ...time.boards.map((board) => span(board.power, start, end))]),
  });
}

// From when to when, as chosen; null is all of it.
function partOf(time) {
  if (!time.window || byId('part').value === 'all') return null;
  let [start, end] = time.window;
  if (byId('part').value === 'around') {
    // Bands that touch belong to one recording; idle power was taken in others, long before.
    for (const [, from, to] of [...time.bands].reverse()) if (to >= start && from < start) start = from;
    for (const [, from, to] of time.bands) if (from <= end && to > end) end = to;
  }
  const pad = 0.04 * (end - start);
  return [start - pad, end + pad];
}

const SERIES_DASH = ['solid', 'dash', 'dot', 'dashdot'];

function span([times, values], start, end) {
  const inside = values.filter((value, n) => value !== null && times[n] >= start && times[n] <= end);
  return inside.length ? `${significant(Math.min(...inside))} to ${significant(Math.max(...inside))}` : UNKNOWN;
}

function showFields(n) {
  const fields = n === undefined ? {} : DATA.configurations[ROWS.hash[n]] ?? {};
  const list = make('dl', { class: 'facts' });
  for (const [name, value] of Object.entries(fields)) {
    list.append(make('div', {}, make('dt', {}, isolated(name)), make('dd', {}, isolated(value))));
  }
  byId('own-fields').replaceChildren(
    make('p', { class: 'hint' }, Object.keys(fields).length
      ? 'What it has of its own; the fields that all share are under “Run it again”.'
      : 'It has nothing of its own: every field is under “Run it again”.'), list);
}
