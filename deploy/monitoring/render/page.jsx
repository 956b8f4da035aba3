// Draws one dashboard from what `render.mjs` brought: frames go through Grafana's own overrides and transformations into its own panels.
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  applyFieldOverrides, applyNullInsertThreshold, cacheFieldDisplayNames, createTheme, dateTime, FieldColorModeId, FieldType, formattedValueToString, getFieldDisplayName,
  LoadingState, Registry, standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { GlobalStyles, PanelChrome, TimeSeries, UPlotChart, UPlotConfigBuilder, VizLegend } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const ZONE = 'utc';
const SETTLED = 4000; // milliseconds in which nothing more came
// What a panel has that its JSON does not say, as its plugin in Grafana declares it.
const COLORS = { timeseries: FieldColorModeId.PaletteClassic, table: FieldColorModeId.Thresholds, 'state-timeline': 'continuous-GrYlRd' };
const CUSTOM = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false, insertNulls: false,
    showPoints: 'auto', pointSize: 5, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisGridShow: true, axisColorMode: 'text',
    axisBorderShow: false, axisCenteredZero: false, scaleDistribution: { type: 'linear' }, thresholdsStyle: { mode: 'off' },
    hideFrom: { tooltip: false, viz: false, legend: false },
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, footer: { reducers: [] } },
  'state-timeline': { lineWidth: 0, fillOpacity: 70, hideFrom: { tooltip: false, viz: false, legend: false } },
};
const LEGEND = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
const STANDARD = ['displayName', 'unit', 'min', 'max', 'decimals', 'noValue', 'color', 'thresholds', 'mappings', 'links', 'custom'];

function registry(config) {
  const ids = new Set([...STANDARD, ...config.overrides.flatMap((one) => one.properties.map((property) => property.id))]);
  return new Registry(() =>
    [...ids].map((id) => ({ id, path: id, name: id, isCustom: false, shouldApply: () => true, process: (value) => structuredClone(value), settings: {} })),
  );
}

/** The frames of a panel after its transformations, each field knowing how it is shown. */
async function prepared(panel, answers, theme) {
  const { defaults, overrides } = panel.fieldConfig;
  const fieldConfig = {
    defaults: { color: { mode: COLORS[panel.type] }, ...defaults, custom: { ...CUSTOM[panel.type], ...defaults.custom } },
    overrides,
  };
  const made = await lastValueFrom(transformDataFrame(panel.transformations ?? [], answers.map((one) => toDataFrame(one))));
  // Where a series was not there, its line breaks off.
  const data = panel.type === 'timeseries' ? made.map((frame) => applyNullInsertThreshold({ frame })) : made;
  const found = applyFieldOverrides({
    data, fieldConfig, fieldConfigRegistry: registry(fieldConfig), replaceVariables: (text) => text, theme, timeZone: ZONE,
  });
  cacheFieldDisplayNames(found);
  return found;
}

const font = (theme) => `12px ${theme.typography.fontFamily}`;

function textWidth(text, theme) {
  const context = document.createElement('canvas').getContext('2d');
  context.font = font(theme);
  return context.measureText(text).width;
}

/** From when to when a field has which value; a moment that was not asked or not answered ends a stretch. */
function stretches(field, time) {
  const found = [];
  field.values.forEach((value, at) => {
    const [moment, last] = [time.values[at], found.at(-1)];
    if (last && moment - last.to <= time.config.interval) {
      last.to = moment;
      if (last.value === value) {
        return;
      }
    }
    found.push({ from: moment, to: moment, value });
  });
  return found;
}

/** Rows of boxes. Grafana's own state timeline is in none of its libraries: these are drawn here, with its axes, colours and legend. */
function StateTimeline({ frames, width, height, range, theme }) {
  const fields = frames.flatMap((one) => one.fields.filter((field) => field.type === FieldType.number).map((field) => ({ field, frame: one })));
  const names = fields.map(({ field, frame }) => getFieldDisplayName(field, frame, frames));
  const builder = new UPlotConfigBuilder(ZONE);
  builder.addScale({
    scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Down, range: () => [0, fields.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: ZONE, theme, grid: { show: true } });
  builder.addAxis({
    scaleKey: 'y', placement: AxisPlacement.Left, theme, grid: { show: false }, ticks: { show: false }, size: Math.max(...names.map((name) => textWidth(name, theme))) + 16,
    splits: () => names.map((_, row) => row + 0.5), values: () => names, filter: (_, splits) => splits,
  });
  builder.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    fields.forEach(({ field, frame }, row) => {
      const [top, bottom] = [row + 0.05, row + 0.95].map((place) => plot.valToPos(place, 'y', true));
      for (const { from, to, value } of stretches(field, frame.fields[0])) {
        const [left, right] = [from, to].map((moment) => Math.max(bbox.left, plot.valToPos(moment, 'x', true)));
        const shown = field.display(value);
        const text = formattedValueToString(shown);
        Object.assign(ctx, { fillStyle: shown.color, globalAlpha: field.config.custom.fillOpacity / 100 });
        ctx.fillRect(left, top, right - left, bottom - top);
        Object.assign(ctx, { fillStyle: theme.colors.text.primary, font: font(theme), globalAlpha: 1, textAlign: 'left', textBaseline: 'middle' });
        if (ctx.measureText(text).width + 8 < right - left) {
          ctx.fillText(text, left + 4, (top + bottom) / 2);
        }
      }
    });
    ctx.restore();
  });
  builder.addSeries({ scaleKey: 'y', theme, show: true, lineWidth: 0, pathBuilder: () => null, pointsBuilder: () => null });
  const shown = fields.flatMap(({ field }) => [...new Set(field.values)].map((value) => field.display(value)));
  const items = [...new Map(shown.map((value) => [`${value.text} ${value.color}`, { label: formattedValueToString(value), color: value.color, yAxis: 1 }])).values()];
  const moments = frames[0].fields[0].values;
  return (
    <>
      <UPlotChart config={builder} data={[moments, moments.map(() => 0)]} width={width} height={height - 32} />
      <VizLegend items={items} displayMode="list" placement="bottom" />
    </>
  );
}

function Body({ panel, frames, width, height, range, theme }) {
  if (!frames.some((one) => one.length > 0)) {
    return <div style={{ alignItems: 'center', color: theme.colors.text.secondary, display: 'flex', height, justifyContent: 'center' }}>No data</div>;
  }
  if (panel.type === 'timeseries') {
    const legend = { ...LEGEND, ...panel.options.legend };
    return <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={range} timeZone={ZONE} legend={legend} options={panel.options} />;
  }
  if (panel.type === 'table') {
    // As in Grafana, only one frame is shown; others are behind a selector.
    return (
      <>
        <TableNG data={frames[0]} width={width} height={frames.length > 1 ? height - 40 : height} fieldConfig={panel.fieldConfig} sortBy={panel.options.sortBy} timeRange={range} />
        {frames.length > 1 && <div>{`${getFieldDisplayName(frames[0].fields[1], frames[0], frames)} ▾ (one of ${frames.length})`}</div>}
      </>
    );
  }
  if (panel.type === 'state-timeline') {
    return <StateTimeline frames={frames} width={width} height={height} range={range} theme={theme} />;
  }
  return <div>{`A ${panel.type} cannot be drawn here.`}</div>;
}

function Dashboard({ dashboard, prepared, chosen, range, width, cell, gap, heading, theme }) {
  const column = (width - 2 * gap - 23 * gap) / 24;
  const said = [...Object.entries(chosen).map(([name, values]) => `${name}: ${values.join(', ')}`), `${range.from.utc().format('YYYY-MM-DD HH:mm:ss')} to ${range.to.utc().format('HH:mm:ss')} UTC`];
  return (
    <div style={{ background: theme.colors.background.canvas, height: '100vh', position: 'relative', width }}>
      <div style={{ alignItems: 'baseline', display: 'flex', gap: 24, padding: `${gap * 2}px ${gap * 2}px` }}>
        <span style={{ fontSize: 18, fontWeight: 500 }}>{dashboard.title}</span>
        <span style={{ color: theme.colors.text.secondary }}>{said.join(' · ')}</span>
      </div>
      {dashboard.panels.map((panel, place) => {
        const { x, y, w, h } = panel.gridPos;
        const size = { width: w * column + (w - 1) * gap, height: h * (cell + gap) - gap };
        return (
          <div key={panel.id} style={{ position: 'absolute', left: gap + x * (column + gap), top: heading + y * (cell + gap), ...size }}>
            <PanelChrome {...size} title={panel.title} description={panel.description || undefined} loadingState={LoadingState.Done} padding={panel.type === 'table' ? 'none' : 'md'} titleItems={panel.type === 'state-timeline' ? <small style={{ color: theme.colors.text.secondary }}>rows drawn by deploy/monitoring/render</small> : undefined}>
              {(width, height) => <Body {...{ panel, width, height, range, theme }} frames={prepared[place]} />}
            </PanelChrome>
          </div>
        );
      })}
    </div>
  );
}

/** Icons come one by one, and legends find their room when all is there. */
async function settled() {
  const lasts = () => Math.max(0, ...performance.getEntriesByType('resource').map((one) => one.responseEnd));
  const drawn = performance.now();
  while (performance.now() - Math.max(drawn, lasts()) < SETTLED) {
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function main() {
  const data = await (await fetch('/data.json')).json();
  const theme = createTheme({ colors: { mode: data.theme } });
  const known = new Map(Object.values(standardTransformers).map((one) => [one.id, one])); // some stand there under an older name too
  standardTransformersRegistry.setInit(() => [...known.values()].map((one) => ({ id: one.id, name: one.name, transformation: () => Promise.resolve(one) })));
  const [from, to] = [data.from, data.to].map((seconds) => dateTime(seconds * 1000));
  const range = { from, to, raw: { from, to } };
  const ready = await Promise.all(data.dashboard.panels.map((panel) => prepared(panel, data.answers[panel.id], theme)));
  const root = createRoot(document.getElementById('root'));
  const draw = (inside) =>
    root.render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        {inside}
      </ThemeContext.Provider>,
    );
  draw(null);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 12px Inter`))); // a canvas waits for no font
  const dashboard = <Dashboard {...data} prepared={ready} range={range} theme={theme} />;
  draw(dashboard);
  await settled();
  draw(null); // an icon that several panels wait for may come to one of them alone; now all are there
  draw(dashboard);
  await settled();
  document.title = 'drawn';
}

main();
