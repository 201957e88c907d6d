// The plots over configurations. Each reads the filters anew, and says as a table what it draws.
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b58900', '#56b4e9', '#8c564b', '#7f7f7f'];
const SYMBOLS = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'star', 'pentagon', 'hexagram'];
const MOST_BARS = 60;
const MOST_ERROR_BARS = 600;
const CONFIG = { displayModeBar: false, responsive: true, showTips: false, scrollZoom: false, doubleClick: false };

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => window.innerWidth < 640;

function layout(extra) {
  const axis = { gridcolor: style('--grid'), zerolinecolor: style('--line'), linecolor: style('--line'), automargin: true, fixedrange: true };
  const own = { xaxis: {}, yaxis: {}, ...extra };
  const axes = Object.fromEntries(Object.keys(own).filter((key) => /^[xy]axis/.test(key))
    .map((key) => [key, { ...axis, ...own[key] }]));
  return {
    margin: { l: 56, r: 16, t: 16, b: 48 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: style('--ink'), family: 'system-ui, sans-serif', size: 13 }, dragmode: false, hovermode: 'closest',
    hoverlabel: { bgcolor: style('--card'), bordercolor: style('--line'), font: { color: style('--ink') }, align: 'left' },
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, itemclick: false, itemdoubleclick: false, traceorder: 'normal' },
    ...own, ...axes,
  };
}

function draw(id, traces, shape, said) {
  const plot = byId(id);
  if (!plot.previousElementSibling.matches('.empty')) plot.before(make('p', { class: 'empty', role: 'status' }));
  plot.previousElementSibling.textContent = traces.length ? '' : said.empty;
  // Hidden rather than purged: plotly may still be on its way to finishing what it drew last.
  plot.hidden = !traces.length;
  if (traces.length) {
    plot.setAttribute('role', 'img');
    plot.setAttribute('aria-label', `${said.caption}. The same as a table follows.`);
    window.Plotly.react(plot, traces, shape, CONFIG);
  }
  dataTable(plot, said.caption, said.head, said.rows);
}

// An axis from 0 that holds every figure; bars that reach further are cut at its end rather than setting the scale.
const fromZero = (figures) => [0, 1.1 * figures.reduce((most, [value, half]) => Math.max(most, Math.min(value + (half ?? 0), 1.5 * value)), 0)];

const bounds = (figures) => ({
  type: 'data', array: figures.map((figure) => figure[1] ?? 0), thickness: 1.2, width: 3, visible: figures.some((figure) => figure[1]),
});

function hover(n) {
  const lines = [`<b>${plotText(POINTS.label[n])}</b>`];
  for (const key of ['energy_per_token_j', 'tokens_per_second', 'energy_j']) {
    const figure = figureOf(key);
    lines.push(plotText(`${figure.label}: ${withBound(POINTS[key][n], figure.unit)}`));
  }
  lines.push(plotText(`${count(POINTS.cycles[n], 'cycle')}, ${DATA.kinds[POINTS.kind[n]].words}, ${DATA.kinds[POINTS.kind[n]].boards}`));
  if (POINTS.best[n]) lines.push('least energy per token of its model');
  return lines.join('<br>');
}

function shade(index, number, numeric) {
  if (!numeric || number > 8) return PALETTE[index % PALETTE.length];
  const from = [[86, 180, 233], [0, 158, 115], [181, 137, 0], [213, 94, 0], [140, 20, 80]];
  const at = number === 1 ? 0 : (index / (number - 1)) * (from.length - 1);
  const [low, high] = [from[Math.floor(at)], from[Math.ceil(at)]];
  return `rgb(${low.map((value, n) => Math.round(value + (high[n] - value) * (at - Math.floor(at)))).join(',')})`;
}

function drawTradeoff() {
  const points = shownPoints().filter((n) => POINTS.energy_per_token_j[n]);
  const by = Number(byId('colour').value);
  const dimension = DIMENSIONS[by];
  const groups = new Map();
  points.forEach((n) => {
    const value = dimension ? POINTS.values[n][by] : 0;
    groups.set(value, [...(groups.get(value) ?? []), n]);
  });
  const few = points.length <= MOST_ERROR_BARS;
  const traces = [...groups].sort((a, b) => (a[0] ?? -1) - (b[0] ?? -1)).map(([value, own]) => {
    const colour = shade(value ?? 0, dimension ? dimension.values.length : 1, dimension?.numeric);
    const x = own.map((n) => POINTS.tokens_per_second[n]);
    const y = own.map((n) => POINTS.energy_per_token_j[n]);
    return {
      type: 'scatter', mode: 'markers', name: plotText(cut(dimension ? valueOf(by, POINTS.values[own[0]]) : 'all', 40)),
      x: x.map((figure) => figure[0]), y: y.map((figure) => figure[0]),
      error_x: few ? { ...bounds(x), color: colour } : undefined, error_y: few ? { ...bounds(y), color: colour } : undefined,
      marker: { size: 11, color: colour, symbol: SYMBOLS[(value ?? 0) % SYMBOLS.length], line: { width: 1, color: style('--card') } },
      hovertext: own.map(hover), hoverinfo: 'text',
    };
  });
  DATA.kinds.forEach((kind, index) => {
    const front = points.filter((n) => POINTS.front[n] && POINTS.kind[n] === index)
      .sort((a, b) => POINTS.tokens_per_second[a][0] - POINTS.tokens_per_second[b][0]);
    if (!front.length) return;
    traces.push({
      type: 'scatter', mode: 'lines+markers', name: plotText(`Pareto front${DATA.kinds.length > 1 ? `, ${cut(kind.boards, 30)}` : ''}`),
      x: front.map((n) => POINTS.tokens_per_second[n][0]), y: front.map((n) => POINTS.energy_per_token_j[n][0]),
      line: { color: style('--soft'), width: 1.5, dash: 'dot', shape: 'hv' }, hoverinfo: 'skip',
      marker: { size: 18, symbol: 'circle-open', color: style('--soft'), line: { width: 1.5 } },
    });
  });
  const scale = byId('scales').value;
  const scaled = (key) => (scale === 'linear' ? { range: fromZero(points.map((n) => POINTS[key][n])), autorange: false } : { autorange: true });
  draw('plot-tradeoff', points.length ? traces : [], layout({
    height: narrow() ? 400 : 480,
    xaxis: { title: { text: 'output tokens per second' }, type: scale, ...scaled('tokens_per_second') },
    yaxis: { title: { text: 'J per output token' }, type: scale, ...scaled('energy_per_token_j') },
    showlegend: groups.size <= 24,
  }), {
    caption: 'Energy per output token against output tokens per second',
    empty: 'No configuration shown has a known energy.',
    head: ['Configuration', 'J per output token', 'Tokens per second', 'Pareto front', 'Least of its model', 'Numbers'],
    rows: () => points.map((n) => [POINTS.label[n], withBound(POINTS.energy_per_token_j[n]), withBound(POINTS.tokens_per_second[n]),
      POINTS.front[n] ? 'yes' : 'no', POINTS.best[n] ? 'yes' : 'no', DATA.kinds[POINTS.kind[n]].words]),
  });
}

function drawBars() {
  const figure = figureOf(byId('bar-figure').value);
  const all = shownPoints().filter((n) => POINTS[figure.key][n]);
  const most = figure.key === 'tokens_per_second' ? -1 : 1;
  if (byId('bar-order').value === 'value') all.sort((a, b) => most * (POINTS[figure.key][a][0] - POINTS[figure.key][b][0]));
  const points = all.slice(0, MOST_BARS);
  const figures = points.map((n) => POINTS[figure.key][n]);
  const left = all.length - points.length;
  draw('plot-bars', points.length ? [{
    type: 'bar', orientation: 'h', y: points.map((_, at) => at), x: figures.map((each) => each[0]),
    error_x: { ...bounds(figures), color: style('--ink') }, hovertext: points.map(hover), hoverinfo: 'text',
    marker: { color: points.map((n) => (POINTS.front[n] ? style('--accent') : PALETTE[5])) },
  }] : [], layout({
    height: 90 + 24 * points.length, bargap: 0.3,
    xaxis: { title: { text: `${figure.label.toLowerCase()} in ${figure.unit}` }, range: figures.every((each) => each[0] > 0) ? fromZero(figures) : undefined }, yaxis: namesAxis(points),
  }), {
    caption: `${figure.label} with 95 % bounds${left ? `; ${left} more aren't drawn` : ''}`,
    empty: `No configuration shown has this figure: ${figure.label.toLowerCase()}.`,
    head: ['Configuration', figure.unit, 'Cycles', 'Numbers'],
    rows: () => all.map((n) => [POINTS.label[n], withBound(POINTS[figure.key][n]), String(POINTS.cycles[n]), DATA.kinds[POINTS.kind[n]].words]),
  });
}

const namesAxis = (points) => ({
  autorange: 'reversed', tickvals: points.map((_, at) => at), showgrid: false, zeroline: false,
  ticktext: points.map((n) => plotText(cut(POINTS.label[n], narrow() ? 22 : 56))), tickfont: { size: narrow() ? 10 : 12 },
});

function drawMap() {
  const [x, y] = [Number(byId('map-x').value), Number(byId('map-y').value)];
  const figure = figureOf(byId('map-figure').value);
  const points = shownPoints().filter((n) => POINTS[figure.key][n]);
  const used = (dimension) => [...new Set(points.map((n) => POINTS.values[n][dimension]))].filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  const [across, down] = [used(x), used(y)];
  const cells = down.map((row) => across.map((column) => {
    const own = points.filter((n) => POINTS.values[n][x] === column && POINTS.values[n][y] === row);
    return own.length ? { mean: own.reduce((sum, n) => sum + POINTS[figure.key][n][0], 0) / own.length, number: own.length } : null;
  }));
  const name = (dimension, value) => DIMENSIONS[dimension].values[value];
  const known = cells.flat().some(Boolean);
  draw('plot-map', known ? [{
    type: 'heatmap', z: cells.map((row) => row.map((cell) => cell && cell.mean)), x: across.map((_, n) => n), y: down.map((_, n) => n),
    text: cells.map((row) => row.map((cell) => (cell ? significant(cell.mean) : ''))), texttemplate: across.length * down.length <= 200 ? '%{text}' : undefined,
    hovertext: cells.map((row, r) => row.map((cell, c) => plotText(cell ? `${name(x, across[c])} / ${name(y, down[r])}: ${significant(cell.mean)} ${figure.unit}, ${count(cell.number, 'configuration')}` : ''))),
    hoverinfo: 'text', xgap: 2, ygap: 2, colorscale: 'Viridis', reversescale: figure.key !== 'tokens_per_second',
    colorbar: { title: { text: figure.unit, side: 'right' }, thickness: 12, outlinewidth: 0 },
  }] : [], layout({
    height: Math.max(260, 110 + 46 * down.length),
    xaxis: { title: { text: plotText(DIMENSIONS[x]?.name ?? '') }, tickvals: across.map((_, n) => n), ticktext: across.map((value) => plotText(cut(name(x, value), 24))), showgrid: false, zeroline: false },
    yaxis: { title: { text: plotText(DIMENSIONS[y]?.name ?? '') }, tickvals: down.map((_, n) => n), ticktext: down.map((value) => plotText(cut(name(y, value), 24))), autorange: 'reversed', showgrid: false, zeroline: false },
  }), {
    caption: `${figure.label} in ${figure.unit} by two dimensions`,
    empty: `No configuration shown has this figure: ${figure.label.toLowerCase()}.`,
    head: [`${DIMENSIONS[y]?.name ?? ''} \\ ${DIMENSIONS[x]?.name ?? ''}`, ...across.map((value) => name(x, value))],
    rows: () => cells.map((row, r) => [name(y, down[r]), ...row.map((cell) => (cell ? significant(cell.mean) : UNKNOWN))]),
  });
}

function drawPhases() {
  const both = (n) => POINTS.prefill_per_token_j[n] && POINTS.decode_per_token_j[n];
  const whole = (n) => POINTS.prefill_per_token_j[n][0] + POINTS.decode_per_token_j[n][0];
  const all = shownPoints().filter(both).sort((a, b) => whole(a) - whole(b));
  const points = all.slice(0, MOST_BARS);
  const bar = (key, name, colour) => {
    const figures = points.map((n) => POINTS[key][n]);
    return {
      type: 'bar', orientation: 'h', name, y: points.map((_, at) => at), x: figures.map((figure) => figure[0]), marker: { color: colour },
      hovertext: points.map((n) => `<b>${plotText(POINTS.label[n])}</b><br>${plotText(`${name}: ${withBound(POINTS[key][n], 'J/token')}`)}`), hoverinfo: 'text',
    };
  };
  draw('plot-phases', points.length ? [bar('prefill_per_token_j', 'prefill', PALETTE[1]), bar('decode_per_token_j', 'decode', PALETTE[0])] : [], layout({
    height: 100 + 24 * points.length, barmode: 'stack', bargap: 0.3,
    xaxis: { title: { text: 'J per output token' } }, yaxis: namesAxis(points),
  }), {
    caption: `Energy per output token by phase${all.length > points.length ? `; ${all.length - points.length} more aren't drawn` : ''}`,
    empty: 'No configuration shown has its energy parted: its backend stamps no steps, or the phases are too short for the sensor.',
    head: ['Configuration', 'Prefill in J per output token', 'Decode in J per output token'],
    rows: () => all.map((n) => [POINTS.label[n], withBound(POINTS.prefill_per_token_j[n]), withBound(POINTS.decode_per_token_j[n])]),
  });
}

function drawDevices() {
  const boards = DATA.boards.filter((board) => board.energy_j !== null);
  const name = (board) => `${board.node} ${board.uuid}`;
  draw('plot-devices', boards.length ? [{
    type: 'bar', orientation: 'h', y: boards.map((_, n) => n), x: boards.map((board) => board.energy_j), marker: { color: PALETTE[2] },
    hovertext: boards.map((board) => plotText(`${name(board)}: ${significant(board.energy_j)} J, ${board.measured}`)), hoverinfo: 'text',
  }] : [], layout({
    height: 90 + 30 * boards.length, bargap: 0.35, xaxis: { title: { text: 'energy in J' } },
    yaxis: { autorange: 'reversed', tickvals: boards.map((_, n) => n), showgrid: false, zeroline: false,
      ticktext: boards.map((board) => plotText(`${cut(board.uuid, narrow() ? 16 : 44)}${board.measured === 'measured' ? '' : ` (${board.measured})`}`)) },
  }), {
    caption: 'Energy of each device over all measured windows',
    empty: 'The energy of no device is known.',
    head: ['Node', 'Device', 'UUID', 'Energy in J', 'Experiments', 'Of unknown energy', 'Numbers'],
    rows: () => DATA.boards.map((board) => [board.node, board.name, board.uuid, significant(board.energy_j, 4), String(board.experiments), String(board.unknown), board.measured]),
  });
}
