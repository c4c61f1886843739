// <metric-chart data-chart="{…}">: lines or bars over time, drawn by uPlot. The page replaces the attribute when there are
// newer figures. Colours are those of the page's styles. The same figures are in a table of the page.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { amount, between, tick, wholeSteps, zone } from "./chart-texts";

interface Chart {
  label: string;
  kind: "bars" | "lines";
  unit: string;
  // When each span begins, and how long it is, in milliseconds.
  times: number[];
  span: number;
  series: { name: string; colour: string; values: (number | null)[] }[];
}

const HEIGHT = 180;
const AXIS_WIDTH = 68;

class MetricChart extends HTMLElement {
  static observedAttributes = ["data-chart"];
  #shown!: Chart;
  #drawn: uPlot | null = null;
  #place!: HTMLElement;
  #marks: HTMLElement[] = [];
  #values: HTMLElement[] = [];
  #when!: HTMLElement;
  #told!: HTMLElement;
  #sizes = new ResizeObserver(() => this.#drawn?.setSize({ width: this.#place.clientWidth, height: HEIGHT }));
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #recolour = () => this.#drawn?.redraw();

  connectedCallback() {
    this.#shown = JSON.parse(this.dataset.chart!);
    this.#build();
    this.#drawn = new uPlot(this.#options(), this.#data(), this.#place);
    this.#sizes.observe(this.#place);
    this.#scheme.addEventListener("change", this.#recolour);
    this.#say(null);
  }

  disconnectedCallback() {
    this.#sizes.disconnect();
    this.#scheme.removeEventListener("change", this.#recolour);
    this.#drawn?.destroy();
    this.#drawn = null;
  }

  attributeChangedCallback() {
    if (!this.#drawn) return;
    this.#shown = JSON.parse(this.dataset.chart!);
    this.#drawn.setData(this.#data());
    this.#say(this.#drawn.cursor.idx ?? null);
  }

  #build() {
    const legend = made("div", "chart-legend");
    this.#when = made("span", "chart-when");
    legend.append(this.#when);
    this.#marks = [];
    this.#values = this.#shown.series.map(({ name, colour }, index) => {
      const button = made("button", "chart-series") as HTMLButtonElement;
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const mark = made("span", `chart-mark chart-${colour}`);
      const value = made("span", "chart-value");
      button.append(mark, name, value);
      button.addEventListener("click", () => this.#toggle(button, index + 1));
      this.#marks.push(mark);
      legend.append(button);
      return value;
    });
    this.#place = made("div", "chart-place");
    this.#place.tabIndex = 0;
    this.#place.setAttribute("role", "img");
    this.#place.setAttribute("aria-label", `${this.#shown.label} over time. Arrow keys read one span after the other.`);
    this.#place.addEventListener("keydown", this.#move);
    this.#place.addEventListener("blur", () => this.#drawn?.setCursor({ left: -10, top: -10 }));
    this.#told = made("span", "hidden");
    this.#told.setAttribute("aria-live", "polite");
    this.replaceChildren(legend, this.#place, this.#told);
  }

  #data(): uPlot.AlignedData {
    const { times, span, series } = this.#shown;
    // A value lies in the middle of its span.
    return [times.map((at) => (at + span / 2) / 1000), ...series.map(({ values }) => values)];
  }

  #options(): uPlot.Options {
    const { kind, unit, series } = this.#shown;
    const style = getComputedStyle(this);
    const axis: uPlot.Axis = {
      stroke: () => style.color,
      grid: { stroke: () => style.borderTopColor, width: 1 },
      ticks: { show: false },
      font: `12px ${style.fontFamily}`,
    };
    return {
      width: this.#place.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        sync: { key: "metrics", setSeries: false },
        points: { show: kind === "lines" },
      },
      scales: {
        x: { range: () => [this.#shown.times[0] / 1000, (this.#shown.times.at(-1)! + this.#shown.span) / 1000] },
        y: { range: (_, __, most) => [0, most > 0 ? uPlot.rangeNum(0, most, 0.1, true)[1] : 1] },
      },
      axes: [
        { ...axis, space: 64, size: 28, values: (_, at, __, ___, step) => at.map((one) => tick(one, step)) },
        { ...axis, size: AXIS_WIDTH, values: (_, at) => at.map((one) => amount(one, unit)), ...(unit ? {} : { incrs: wholeSteps }) },
      ],
      series: [{}, ...series.map(({ name }, index) => this.#line(name, index))],
      hooks: { setCursor: [(chart) => this.#say(chart.cursor.idx ?? null)] },
    };
  }

  #line(label: string, index: number): uPlot.Series {
    const colour = () => getComputedStyle(this.#marks[index]).color;
    if (this.#shown.kind === "bars") {
      return { label, stroke: colour, fill: colour, width: 0, paths: uPlot.paths.bars!({ size: [0.8, 48] }), points: { show: false } };
    }
    // A value between two gaps has no line: it is a point.
    const alone = (chart: uPlot, at: number, all: boolean) => {
      const values = chart.data[at];
      const empty = (one: number) => values[one] === null || values[one] === undefined;
      return all ? null : Array.from(values.keys()).filter((one) => !empty(one) && empty(one - 1) && empty(one + 1));
    };
    // Broken lines let an equal line below be seen.
    const dash = index === 2 ? [6, 6] : undefined;
    return { label, stroke: colour, width: 2, dash, points: { size: 5, fill: colour, filter: alone } };
  }

  #toggle(button: HTMLButtonElement, at: number) {
    const show = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(show));
    this.#drawn?.setSeries(at, { show });
  }

  #move = (event: KeyboardEvent) => {
    // The browser's own, as Alt and an arrow goes back.
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.#shown.times.length - 1;
    const now = this.#drawn!.cursor.idx ?? last + 1;
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const index = Math.min(Math.max(next, 0), last);
    this.#drawn!.setCursor({ left: this.#drawn!.valToPos(this.#drawn!.data[0][index]!, "x"), top: 0 });
    this.#told.textContent = [this.#when, ...this.#values.map((one) => one.parentElement!)].map((one) => one.textContent).join(", ");
  };

  // The values of one span, or none.
  #say(index: number | null) {
    const { times, span, series, unit } = this.#shown;
    const known = index !== null && index < times.length;
    this.#when.textContent = known ? between(times[index], times[index] + span) : `Times in ${zone()}`;
    series.forEach(({ values }, at) => {
      const value = known ? values[index] : undefined;
      this.#values[at].textContent = value === undefined ? "" : value === null ? " –" : ` ${amount(value, unit)}`;
    });
  }
}

function made(tag: string, kind: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = kind;
  return element;
}

customElements.define("metric-chart", MetricChart);
