// Pictures of the dashboards: asks Prometheus what each panel asks, has Grafana's own components draw the answers in a headless
// Chromium, and writes a PNG and a snapshot (a dashboard with its data inside) of each.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, extname, join, normalize } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const HERE = import.meta.dirname;
const DASHBOARDS = join(HERE, '..', 'grafana');
const ICONS = join(HERE, 'node_modules', '@grafana', 'ui', 'dist', 'public');
const FONTS = join(HERE, 'node_modules', '@fontsource', 'inter', 'files');
const WEIGHTS = { 'Inter-Regular.woff2': '400', 'Inter-Medium.woff2': '500' };
const CELL = 30; // of Grafana's grid, in pixels
const GAP = 8;
const HEADING = 56;
const PATIENCE = 90_000;
const ENDING = 10_000;
const LAST_WORDS = 1_000; // milliseconds after the browser's end: a process that it leaves may hold its standard error
const WORDS = 2_000;
const KINDS = { '.js': 'text/javascript', '.woff2': 'font/woff2', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html', '.json': 'application/json' };

const { values: options } = parseArgs({
  options: {
    prometheus: { type: 'string', default: 'http://127.0.0.1:9090' },
    minutes: { type: 'string', default: '30' },
    until: { type: 'string' }, // seconds since 1970; default: now
    interval: { type: 'string', default: '15' }, // seconds between scrapes
    width: { type: 'string', default: '1600' },
    theme: { type: 'string', default: 'light' },
    browser: { type: 'string', default: 'chromium' },
    out: { type: 'string', default: join(HERE, 'build') },
  },
});

class Prometheus {
  constructor(address, from, to, interval) {
    Object.assign(this, { address, from, to, interval });
  }

  async ask(path, query) {
    const reply = await fetch(`${this.address}/api/v1/${path}?${new URLSearchParams(query)}`);
    const said = await reply.json();
    if (said.status !== 'success') {
      throw new Error(`Prometheus does not answer ${JSON.stringify(query)}: ${said.error}`);
    }
    return said.data;
  }

  /** The step that Grafana would take: not more points than pixels, none between two scrapes. */
  step(pixels) {
    return Math.max(this.interval, Math.ceil((this.to - this.from) / pixels));
  }

  range(expr, pixels) {
    return this.ask('query_range', { query: expr, start: this.from, end: this.to, step: this.step(pixels) });
  }

  instant(expr) {
    return this.ask('query', { query: expr, time: this.to });
  }
}

/** What stands for `$name` in a query, of each variable, "All" being chosen where it may be. */
async function variables(dashboard, prometheus) {
  const found = {};
  for (const variable of dashboard.templating.list.filter((one) => one.type === 'query')) {
    const [, metric, label] = /^label_values\((.+),\s*(\w+)\)$/.exec(variable.query);
    const { from: start, to: end } = prometheus;
    const values = await prometheus.ask(`label/${label}/values`, { 'match[]': metric, start, end });
    found[variable.name] = variable.includeAll ? values : values.slice(0, 1);
  }
  return found;
}

function filled(expr, chosen) {
  return expr.replace(/\$\{?(\w+)\}?/g, (said, name) => {
    if (!(name in chosen)) {
      throw new Error(`Nothing is known of ${said} in: ${expr}`);
    }
    return chosen[name].length === 1 ? chosen[name][0] : `(${chosen[name].join('|')})`;
  });
}

function legend(format, metric) {
  if (!format || format === '__auto') {
    const inside = Object.entries(metric).filter(([name]) => name !== '__name__');
    return `${metric.__name__ ?? ''}{${inside.map(([name, value]) => `${name}="${value}"`).join(', ')}}`;
  }
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => metric[name] ?? '');
}

const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);

/** A series as a frame: its moments and its values. */
function frame(target, series, interval) {
  const pairs = series.values ?? [series.value];
  return {
    refId: target.refId,
    meta: { type: 'timeseries-multi' },
    fields: [
      { name: 'Time', type: 'time', config: { interval: interval * 1000 }, values: pairs.map(([at]) => at * 1000) },
      {
        name: 'Value',
        type: 'number',
        labels: series.metric,
        config: { displayNameFromDS: legend(target.legendFormat, series.metric) },
        values: pairs.map(([, value]) => number(value)),
      },
    ],
  };
}

/** All series of a query as one table: the moment, a column a label, the value. As Grafana's data source does with `format: table`. */
function table(target, answer, isOnly) {
  const rows = answer.flatMap((series) => (series.values ?? [series.value]).map((pair) => [series.metric, pair]));
  const labels = [...new Set(answer.flatMap((series) => Object.keys(series.metric)))].sort();
  return {
    refId: target.refId,
    meta: {},
    fields: [
      { name: 'Time', type: 'time', config: {}, values: rows.map(([, [at]]) => at * 1000) },
      ...labels.map((label) => ({ name: label, type: 'string', config: { filterable: true }, values: rows.map(([metric]) => metric[label] ?? '') })),
      { name: isOnly ? 'Value' : `Value #${target.refId}`, type: 'number', config: {}, values: rows.map(([, [, value]]) => number(value)) },
    ],
  };
}

async function frames(panel, chosen, prometheus, pixels) {
  const found = [];
  for (const target of panel.targets) {
    const expr = filled(target.expr, chosen);
    const answer = (await (target.instant ? prometheus.instant(expr) : prometheus.range(expr, pixels))).result;
    if (target.format === 'table') {
      found.push(...(answer.length ? [table(target, answer, panel.targets.length === 1)] : []));
    } else {
      found.push(...answer.map((series) => frame(target, series, prometheus.step(pixels))));
    }
  }
  return found;
}

/** The dashboard with its data inside, as Grafana reads it without a data source. */
function snapshot(dashboard, answers, prometheus) {
  const range = { from: new Date(prometheus.from * 1000).toISOString(), to: new Date(prometheus.to * 1000).toISOString() };
  const panels = dashboard.panels.map(({ targets, ...panel }) => ({
    ...panel,
    datasource: { type: 'grafana', uid: 'grafana' },
    snapshotData: answers[panel.id],
  }));
  return { ...dashboard, refresh: '', time: range, templating: { list: [] }, annotations: { list: [] }, panels };
}

async function serve(pages) {
  const server = createServer((request, reply) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://127.0.0.1').pathname));
    const [icon, weight] = [path.indexOf('/img/icons/'), WEIGHTS[basename(path)]];
    const file = weight ? join(FONTS, `inter-latin-${weight}-normal.woff2`) : icon >= 0 ? join(ICONS, path.slice(icon)) : undefined;
    try {
      const body = pages[path] ?? (file && readFileSync(file));
      reply.writeHead(body === undefined ? 404 : 200, { 'content-type': KINDS[extname(path)] ?? 'text/plain' });
      reply.end(body);
    } catch {
      reply.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A page of a headless Chromium, spoken to over a pipe (fd 3 and 4, a message ends with a zero byte). */
class Browser {
  constructor(program) {
    this.profile = mkdtempSync(join(tmpdir(), 'render-'));
    const flags = [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--hide-scrollbars', '--remote-debugging-pipe', `--user-data-dir=${this.profile}`,
    ];
    const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
    this.process = spawn(program, flags, { env: { ...process.env, TMPDIR: this.profile }, stdio, detached: true }); // its own group
    this.waiting = new Map();
    this.problems = [];
    this.ended = this.end(program);
    this.ended.catch(() => undefined);
    let held = '';
    this.process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const said = (held + text).split('\0');
      held = said.pop();
      said.map(JSON.parse).forEach((message) => this.heard(message));
    });
  }

  /** Rejects once it is gone, with its last words. One that closes its pipes answers nothing any more, and is killed. */
  end(program) {
    const [, , error, ...pipes] = this.process.stdio;
    let words = '';
    error.setEncoding('utf8').on('data', (text) => {
      words = (words + text).slice(-WORDS);
    });
    for (const pipe of pipes) {
      pipe.on('error', () => undefined).on('close', () => this.closing || this.kill());
    }
    return new Promise((_, reject) => {
      this.process.on('error', reject).on('exit', async (code, signal) => {
        await Promise.race([once(this.process, 'close'), setTimeout(LAST_WORDS)]);
        const how = this.isKilled && signal === 'SIGKILL' ? 'closed its pipes, and was killed' : 'ended';
        reject(new Error(`${program} ${how}.${words && ` It said: ${words.trim()}`}`));
      });
    });
  }

  /** Kills it with what it started, such as a browser that is a script's child. */
  kill() {
    try {
      this.isKilled = process.kill(-this.process.pid, 'SIGKILL');
    } catch {
      // It is gone, or it never came.
    }
  }

  heard({ id, method, params, result, error }) {
    if (method === 'Runtime.exceptionThrown') {
      this.problems.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    }
    const { resolve, reject } = this.waiting.get(id) ?? {};
    this.waiting.delete(id);
    error ? reject?.(new Error(error.message)) : resolve?.(result);
  }

  call(method, params = {}) {
    const id = (this.count = (this.count ?? 0) + 1);
    const answer = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    return Promise.race([answer, this.ended]);
  }

  /** The page as a PNG, once it says that it is drawn. */
  async picture(address, width, height) {
    this.session = undefined;
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    this.session = (await this.call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
    await this.call('Runtime.enable');
    await this.call('Page.enable');
    await this.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
    await this.call('Page.navigate', { url: address });
    for (const end = Date.now() + PATIENCE; ; await setTimeout(200)) {
      const { result } = await this.call('Runtime.evaluate', { expression: 'document.title' });
      if (this.problems.length || Date.now() > end) {
        throw new Error(this.problems.join('\n') || `${address} is not drawn within ${PATIENCE / 1000} s.`);
      }
      if (result.value === 'drawn') {
        return Buffer.from((await this.call('Page.captureScreenshot', { format: 'png' })).data, 'base64');
      }
    }
  }

  /** Ends it with all of its processes: killed, they still write into the folder that is removed. */
  async close() {
    this.closing = true;
    this.session = undefined;
    const asked = this.call('Browser.close').then(() => this.ended);
    await Promise.race([asked, setTimeout(ENDING, undefined, { ref: false })]).catch(() => undefined);
    this.kill();
    this.process.stdio.forEach((pipe) => pipe?.destroy());
    for (const end = Date.now() + ENDING; ; await setTimeout(200)) {
      try {
        return rmSync(this.profile, { recursive: true, force: true });
      } catch (error) {
        if (error.code !== 'ENOTEMPTY' || Date.now() > end) {
          console.error(`${this.profile} stays: ${error.message}`);
          return;
        }
      }
    }
  }
}

async function main() {
  const [width, minutes, until] = [Number(options.width), Number(options.minutes), Number(options.until ?? Date.now() / 1000)];
  const interval = Number(options.interval);
  const to = Math.floor(until / interval) * interval;
  const prometheus = new Prometheus(options.prometheus, to - 60 * minutes, to, interval);
  mkdirSync(options.out, { recursive: true });
  const bundle = await build({
    entryPoints: [join(HERE, 'page.jsx')],
    bundle: true,
    write: false,
    outdir: options.out,
    jsx: 'automatic',
    minify: true,
    loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.png': 'dataurl' },
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    logLevel: 'error',
  });
  const pages = Object.fromEntries(bundle.outputFiles.map((file) => [`/${basename(file.path)}`, file.contents]));
  pages['/page.html'] = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><div id="root"></div><script src="/page.js"></script>';
  const server = await serve(pages);
  const browser = new Browser(options.browser);
  try {
    for (const name of readdirSync(DASHBOARDS).filter((file) => file.endsWith('.json'))) {
      await render(name, prometheus, width, pages, (page) => browser.picture(`http://127.0.0.1:${server.address().port}/page.html`, ...page));
    }
  } finally {
    await browser.close();
    server.close();
  }
}

/** Asks what a dashboard asks, and writes its picture and its snapshot. */
async function render(name, prometheus, width, pages, picture) {
  const dashboard = JSON.parse(readFileSync(join(DASHBOARDS, name), 'utf8'));
  const chosen = await variables(dashboard, prometheus);
  const answers = {};
  for (const panel of dashboard.panels) {
    answers[panel.id] = await frames(panel, chosen, prometheus, Math.floor((width * panel.gridPos.w) / 24));
  }
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const { from, to } = prometheus;
  pages['/data.json'] = JSON.stringify({ dashboard, answers, chosen, from, to, width, theme: options.theme, cell: CELL, gap: GAP, heading: HEADING });
  const stem = join(options.out, basename(name, '.json'));
  writeFileSync(`${stem}.snapshot.json`, JSON.stringify(snapshot(dashboard, answers, prometheus)));
  writeFileSync(`${stem}.png`, await picture([width, HEADING + rows * (CELL + GAP) + GAP]));
  console.log(`${stem}.png`);
}

await main();
