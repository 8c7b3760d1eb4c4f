// Dates as people type them: Persian (۱۴۰۳/۵/۱۲) or Gregorian (2024-08-02), any digits → ISO "2024-08-02".

const parts = new Intl.DateTimeFormat("en-u-ca-persian-nu-latn", { timeZone: "UTC", year: "numeric", month: "numeric", day: "numeric" });
const DAY_MS = 86_400_000;
const FIRST_GREGORIAN_YEAR = 1700; // smaller years are Persian ones

const asciiDigits = (text) =>
  text.replace(/[۰-۹]/g, (digit) => digit.charCodeAt(0) - 0x6f0).replace(/[٠-٩]/g, (digit) => digit.charCodeAt(0) - 0x660);

function persianDay(date) {
  const found = {};
  for (const { type, value } of parts.formatToParts(date)) {
    if (type === "year" || type === "relatedYear") found.year = parseInt(value, 10);
    if (type === "month") found.month = parseInt(value, 10);
    if (type === "day") found.day = parseInt(value, 10);
  }
  return found;
}

// The browser only knows the way from Gregorian to Persian, so the answer is guessed and looked for nearby.
function fromPersian(year, month, day) {
  const dayOfYear = (month - 1) * 30 + Math.min(month - 1, 6) + day - 1;
  const guess = Date.UTC(year + 621, 2, 21) + dayOfYear * DAY_MS;
  for (const shift of [0, -1, 1, -2, 2]) {
    const date = new Date(guess + shift * DAY_MS);
    const seen = persianDay(date);
    if (seen.year === year && seen.month === month && seen.day === day) return date;
  }
  return null;
}

// A Date (UTC midnight), null for an empty field, undefined for something that is no date.
export function readDay(text) {
  const plain = asciiDigits(text).replace(/[\u200e\u200f\u061c\u2066-\u2069]/g, "").trim();
  if (!plain) return null;
  const match = /^(\d{4})(?:[-/.٫\s](\d{1,2})(?:[-/.٫\s](\d{1,2}))?)?$/.exec(plain);
  if (!match) return undefined;
  const [year, month, day] = [match[1], match[2] ?? "1", match[3] ?? "1"].map(Number);
  if (month < 1 || month > 12 || day < 1 || day > 31) return undefined;
  if (year < FIRST_GREGORIAN_YEAR) return fromPersian(year, month, day) ?? undefined;
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 ? date : undefined;
}

export const isoDay = (date) => date.toISOString().slice(0, 10);
export const fromIso = (iso) => new Date(`${iso}T00:00:00Z`);
