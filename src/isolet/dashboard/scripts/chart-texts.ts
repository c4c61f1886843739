// What charts write: amounts with their unit, and times in the reader's zone.
const DAY = 86_400;
const language = document.documentElement.lang || "en";
const number = new Intl.NumberFormat(language, { maximumFractionDigits: 3 });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
const moment = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// Steps of an axis of things that are counted: 1, 2, 5, 10, …
export const wholeSteps = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((one) => one * 10 ** power)).flat();

export function amount(value: number, unit: string): string {
  const text = number.format(value).replaceAll(",", "\u202f");
  return unit ? `${text} ${unit}` : text;
}

// A place on the axis of time, in seconds since 1970, with `step` seconds to the next one.
export function tick(at: number, step: number): string {
  const date = new Date(at * 1000);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  return step >= DAY || isMidnight ? day.format(date) : clock.format(date);
}

export const between = (from: number, to: number) => moment.formatRange(from, to);

export const zone = () => clock.resolvedOptions().timeZone;
