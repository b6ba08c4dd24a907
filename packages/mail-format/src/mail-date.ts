/** Dates as mail writes them, in the zone of this machine. */

const dayNames = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;
const monthNames = [
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
] as const;

/** For header fields, e.g. `Sat, 21 Nov 2026 18:12:24 +0100`. Source: RFC 5322 §3.3. */
export function formatMailDate(ms: number): string {
  const date = new Date(ms);
  const eastMinutes = -date.getTimezoneOffset();
  const sign = eastMinutes < 0 ? "-" : "+";
  const zone =
    twoDigits(Math.floor(Math.abs(eastMinutes) / 60)) + twoDigits(Math.abs(eastMinutes) % 60);
  return (
    `${dayNames[date.getDay()]}, ${date.getDate()} ${monthNames[date.getMonth()]} ${date.getFullYear()} ` +
    `${timeOfDay(date)} ${sign}${zone}`
  );
}

/** As asctime(3) without its newline: `Sat Nov 21 18:12:24 2026`, the day padded to two columns. */
export function asctime(ms: number): string {
  const date = new Date(ms);
  const day = String(date.getDate()).padStart(2, " ");
  return `${dayNames[date.getDay()]} ${monthNames[date.getMonth()]} ${day} ${timeOfDay(date)} ${date.getFullYear()}`;
}

function timeOfDay(date: Date): string {
  return `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}:${twoDigits(date.getSeconds())}`;
}

function twoDigits(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
