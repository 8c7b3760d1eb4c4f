// Every word that the page says, in one place, and the Persian way of writing numbers, sizes and dates.

const numbers = new Intl.NumberFormat("fa-IR");
const scores = new Intl.NumberFormat("fa-IR", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const sizes = new Intl.NumberFormat("fa-IR", { maximumFractionDigits: 1 });
// EXIF has no time zone: the camera's clock is shown as it stands, so everything is formatted as if in UTC.
const jalali = new Intl.DateTimeFormat("fa-IR-u-ca-persian", { timeZone: "UTC", weekday: "long", day: "numeric", month: "long", year: "numeric" });
const gregorian = new Intl.DateTimeFormat("fa-IR-u-ca-gregory", { timeZone: "UTC", day: "numeric", month: "long", year: "numeric" });
const clock = new Intl.DateTimeFormat("fa-IR", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });

export const number = (value) => numbers.format(value);
export const score = (value) => scores.format(value);

export function fileSize(bytes) {
  const units = ["بایت", "کیلوبایت", "مگابایت", "گیگابایت"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${sizes.format(value)} ${units[unit]}`;
}

export const dimensions = (width, height) => `${number(width).replaceAll("٬", "")} × ${number(height).replaceAll("٬", "")}`;

// Browsers put the parts of a Persian date in an order that nobody writes.
function jalaliWords(moment, names) {
  const parts = new Map(jalali.formatToParts(moment).map(({ type, value }) => [type, value]));
  return names.map((name) => parts.get(name) ?? "").filter(Boolean).join(" ");
}

// "2024-03-20T18:30:00" → { jalali, gregorian, clock }; null when it is no date.
export function takenAt(iso) {
  const match = /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2}))?/.exec(iso || "");
  if (!match) return null;
  const [, year, month, day, hour, minute] = match;
  const moment = new Date(Date.UTC(+year, +month - 1, +day, +(hour ?? 0), +(minute ?? 0)));
  if (Number.isNaN(moment.getTime())) return null;
  return { jalali: jalaliWords(moment, ["weekday", "day", "month", "year"]), gregorian: gregorian.format(moment), clock: hour ? clock.format(moment) : "" };
}

export const dayInWords = (date) => `${jalaliWords(date, ["day", "month", "year"])} (${gregorian.format(date)})`;

export const T = {
  brandLabel: "پیدا، صفحهٔ نخست",
  tagline: "عکس‌هایتان را با توصیفشان پیدا کنید.",
  skipToResults: "پرش به عکس‌ها",
  searchLabel: "جست‌وجوی عکس",
  searchPlaceholder: "مثلاً: سگ در برف",
  searchButton: "پیدا کن",
  searchByImage: "جست‌وجو با یک عکس",
  filters: "محدود کردن به تاریخ",
  afterLabel: "از روز",
  beforeLabel: "پیش از روز",
  datePlaceholder: "۱۴۰۳/۰۱/۰۱",
  dateWrong: "این تاریخ خوانده نشد. نمونه: ۱۴۰۳/۰۱/۰۱ یا ۲۰۲۴/۰۳/۲۰",
  applyFilters: "اعمال",
  clearFilters: "برداشتن",
  filterAfter: (day) => `از ${day}`,
  filterBefore: (day) => `پیش از ${day}`,
  gridLabel: "عکس‌های پیداشده",
  more: "عکس‌های بیشتر",
  apiLink: "راهنمای API",
  keysHint: "/ جست‌وجو · پیکان‌ها حرکت · Enter باز کردن · S عکس‌های شبیه · Esc بستن",
  dropHere: "عکس را رها کنید تا شبیه آن پیدا شود",
  examplesTitle: "چند نمونه برای شروع",
  examples: ["غروب کنار دریا", "گربهٔ خوابیده", "بچه‌ها در حال بازی", "کوه برفی", "میز صبحانه", "خیابان در شب"],

  searching: "در حال گشتن…",
  titleFor: (words) => `${words} · پیدا`,
  title: "پیدا",
  found: (count, total) => `${number(count)} عکس از ${number(total)} عکس، نزدیک‌ترین‌ها در آغاز`,
  galleryLine: (photos, model) => `${number(photos)} عکس در این گالری · مدل ${model}`,

  similarTo: "عکس‌های شبیه این عکس",
  similarToUpload: "عکس‌های شبیه عکسی که دادید",
  clearContext: "برگشت به جست‌وجو",
  uploadLost: "عکسی که با آن گشته بودید پس از بازخوانی صفحه در دست نیست. دوباره آن را اینجا رها کنید.",
  notAnImage: "این پرونده عکس نیست. یک عکس رها کنید یا بچسبانید.",
  tooLarge: "این عکس بزرگ‌تر از ۶۴ مگابایت است. نسخهٔ کوچک‌ترش را بدهید.",

  photoLabel: (rank, name, words) => `عکس ${number(rank)}، ${name}، امتیاز ${words}`,
  scoreTitle: "امتیاز شباهت (بیشینه ۱)",
  brokenPhoto: "نمایش داده نمی‌شود",

  emptyGalleryTitle: "هنوز عکسی در این گالری نیست",
  emptyGallery: "این فرمان را در خط فرمان اجرا کنید و به‌جای نشانی، پوشهٔ عکس‌هایتان را بنویسید. همین که نخستین عکس‌ها خوانده شدند، اینجا پیدا می‌شوند.",
  nothingTitle: "چیزی پیدا نشد",
  nothing: "جور دیگری توصیفش کنید، یا اگر تاریخ گذاشته‌اید آن را بردارید.",
  copyCommand: "رونوشت فرمان",

  lightboxLabel: "نمایش عکس",
  close: "بستن",
  next: "عکس بعدی",
  previous: "عکس پیشین",
  similar: "عکس‌های شبیه",
  openFile: "پروندهٔ اصلی",
  copyPath: "رونوشت نشانی",
  copied: "رونوشت شد",
  copyFailed: "رونوشت نشد؛ خودتان نشانی را برگزینید",
  taken: "تاریخ",
  fromFileDate: "از تاریخ پرونده",
  size: "اندازه",
  place: "جا",
  path: "نشانی",
  scoreLabel: "امتیاز",
  position: (rank, count) => `${number(rank)} از ${number(count)}`,

  retry: "دوباره",
  errorTitle: "انجام نشد",
  errorAdvice: "دوباره بزنید. اگر باز هم نشد، جزئیات زیر می‌گوید چه باید کرد.",
  unreachableTitle: "سرور پیدا پاسخ نمی‌دهد",
  unreachable: "ببینید پنجره‌ای که در آن peyda serve اجرا شده هنوز باز است، سپس دوباره بزنید.",
  detailsInEnglish: "جزئیات",
  // By the `type` of a problem document.
  problems: {
    QueryError: ["این جست‌وجو خوانده نشد", "با چند واژهٔ ساده بنویسید در عکس چه هست."],
    ImageRefused: ["این عکس خوانده نشد", "شاید پرونده ناقص باشد یا قالبش پشتیبانی نشود. عکس دیگری را بیازمایید."],
    BodyTooLarge: ["این عکس بزرگ‌تر از اندازهٔ مجاز است", "نسخهٔ کوچک‌ترش را بدهید (تا ۶۴ مگابایت)."],
    PhotoNotFound: ["این عکس دیگر در گالری نیست", "شاید پس از آخرین خواندن پوشه‌ها حذف یا جابه‌جا شده باشد. دوباره جست‌وجو کنید."],
    PhotoVanished: ["پروندهٔ این عکس سر جایش نیست", "اگر روی دیسک جداگانه است آن را وصل کنید، یا پوشه را دوباره با peyda index بخوانید."],
    GalleryNotFound: ["گالری‌ای اینجا نیست", "نخست پوشهٔ عکس‌هایتان را با peyda index بخوانید."],
    GalleryMismatch: ["این گالری با مدل دیگری ساخته شده است", "فرمانی را که در جزئیات آمده اجرا کنید."],
    GalleryTooNew: ["این گالری را نسخهٔ تازه‌تری از پیدا ساخته است", "پیدا را به‌روز کنید."],
    GalleryCorrupt: ["پرونده‌های گالری با هم نمی‌خوانند", "فرمان peyda gallery verify را اجرا کنید."],
    GalleryBusy: ["گالری سرگرم کار دیگری است", "کمی بعد دوباره بزنید."],
    StorageError: ["دیسک پر است یا در دسترس نیست", "کمی جا باز کنید یا دیسک را وصل کنید."],
    ModelError: ["مدل به کار نمی‌افتد", "فرمان peyda doctor می‌گوید چه کم است."],
    EngineError: ["موتور جست‌وجو از کار افتاد", "سرور را ببندید و دوباره اجرا کنید؛ peyda gallery verify گالری را بررسی می‌کند."],
    RequestError: ["این درخواست درست نیست", "نشانی صفحه را بررسی کنید یا از نو جست‌وجو کنید."],
  },
};
