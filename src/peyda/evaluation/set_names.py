"""Persian names of the classes of well-known labelled sets; those of ImageNet and Caltech-101 are in `peyda.persian`.

The Persian was composed for this project by a large language model from the English names, as people write them; no
person has reviewed it yet. The first name of a class is the one that is measured with, the others are synonyms. Breeds
are transliterated, as Iranians write them. Order is that of the sets' own numbering.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from peyda.persian.lexicon import caltech101_names, everyday_names, imagenet_names

_STL10 = """
airplane هواپیما|طیاره
bird پرنده
car ماشین|خودرو|اتومبیل
cat گربه
deer گوزن|آهو
dog سگ
horse اسب
monkey میمون
ship کشتی
truck کامیون
"""

_CIFAR10 = """
airplane هواپیما|طیاره
automobile ماشین|خودرو|اتومبیل
bird پرنده
cat گربه
deer گوزن|آهو
dog سگ
frog قورباغه
horse اسب
ship کشتی
truck کامیون
"""

_CIFAR100 = """
apple سیب
aquarium_fish ماهی آکواریومی|ماهی زینتی
baby نوزاد|بچه شیرخوار
bear خرس
beaver سگ آبی
bed تخت خواب|تخت
bee زنبور عسل|زنبور
beetle سوسک|قاب‌بال
bicycle دوچرخه
bottle بطری
bowl کاسه
boy پسربچه|پسر
bridge پل
bus اتوبوس
butterfly پروانه
camel شتر
can قوطی
castle قلعه
caterpillar کرم پروانه|هزارپا
cattle گاو|گاوها
chair صندلی
chimpanzee شامپانزه
clock ساعت دیواری|ساعت
cloud ابر
cockroach سوسک حمام|سوسک
couch کاناپه|مبل
crab خرچنگ
crocodile تمساح
cup فنجان|لیوان
dinosaur دایناسور
dolphin دلفین
elephant فیل
flatfish ماهی پهن|کفشک‌ماهی
forest جنگل
fox روباه
girl دختربچه|دختر
hamster همستر
house خانه
kangaroo کانگورو
keyboard صفحه‌کلید|کیبورد
lamp چراغ|آباژور
lawn_mower ماشین چمن‌زنی|چمن‌زن
leopard پلنگ
lion شیر جنگل|شیر
lizard مارمولک
lobster لابستر|خرچنگ دریایی
man مرد
maple_tree درخت افرا
motorcycle موتورسیکلت|موتور
mountain کوه
mouse موش
mushroom قارچ
oak_tree درخت بلوط
orange پرتقال
orchid گل ارکیده|ارکیده
otter سمور آبی
palm_tree درخت نخل|نخل
pear گلابی
pickup_truck وانت|وانت‌بار
pine_tree درخت کاج|کاج
plain دشت
plate بشقاب
poppy گل شقایق|شقایق
porcupine جوجه‌تیغی|تشی
possum صاریغ|اپوسوم
rabbit خرگوش
raccoon راکون
ray سفره‌ماهی
road جاده
rocket موشک|راکت فضایی
rose گل رز|گل سرخ
sea دریا
seal فک|خوک آبی
shark کوسه
shrew موش پوزه‌دراز|حشره‌خور
skunk راسو|راسوی بدبو
skyscraper آسمان‌خراش|برج
snail حلزون
snake مار
spider عنکبوت
squirrel سنجاب
streetcar تراموا
sunflower گل آفتابگردان|آفتابگردان
sweet_pepper فلفل دلمه‌ای
table میز
tank تانک
telephone تلفن
television تلویزیون
tiger ببر
tractor تراکتور
train قطار
trout ماهی قزل‌آلا|قزل‌آلا
tulip گل لاله|لاله
turtle لاک‌پشت
wardrobe کمد لباس|کمد
whale نهنگ|وال
willow_tree درخت بید|بید
wolf گرگ
woman زن
worm کرم
"""

_PETS = """
abyssinian گربه حبشی|گربه ابیسینین
american_bulldog بولداگ آمریکایی|سگ بولداگ آمریکایی
american_pit_bull_terrier پیت بول آمریکایی|سگ پیت بول
basset_hound سگ باست هوند|باست هاند
beagle سگ بیگل|بیگل
bengal گربه بنگال
birman گربه بیرمن
bombay گربه بمبئی
boxer سگ باکسر|باکسر
british_shorthair گربه مو کوتاه بریتانیایی|بریتیش شورت هیر
chihuahua سگ چی‌واوا|شیواوا
egyptian_mau گربه مصری|گربه مائوی مصری
english_cocker_spaniel کوکر اسپانیل انگلیسی|سگ کوکر
english_setter ستر انگلیسی|سگ ستر
german_shorthaired پوینتر مو کوتاه آلمانی|سگ پوینتر آلمانی
great_pyrenees سگ گریت پیرنیز|سگ پیرنه بزرگ
havanese سگ هاوانیز|هاوانیز
japanese_chin سگ چین ژاپنی|چین ژاپنی
keeshond سگ کیس‌هوند|کیشوند
leonberger سگ لئونبرگر|لئونبرگر
maine_coon گربه مین کون|مین کون
miniature_pinscher سگ پینچر مینیاتوری|پینچر کوچک
newfoundland سگ نیوفاندلند|نیوفاندلند
persian گربه ایرانی|گربه پرشین
pomeranian سگ پامرانیان|پامرانین
pug سگ پاگ|پاگ
ragdoll گربه رگدال|رگدال
russian_blue گربه آبی روسی|راشن بلو
saint_bernard سگ سن برنارد|سن برنارد
samoyed سگ ساموید|ساموید
scottish_terrier تریر اسکاتلندی|سگ تریر اسکاتلندی
shiba_inu سگ شیبا اینو|شیبا اینو
siamese گربه سیامی
sphynx گربه بدون مو|گربه اسفینکس
staffordshire_bull_terrier بول تریر استافوردشایر|استافوردشایر
wheaten_terrier تریر گندمگون|ویتن تریر
yorkshire_terrier یورکشایر تریر|سگ یورکشایر
"""

_SPECIES = """
cat گربه
dog سگ
"""

_TABLES = {
    "stl10": _STL10,
    "cifar10": _CIFAR10,
    "cifar100": _CIFAR100,
    "pets": _PETS,
    "pets-species": _SPECIES,
}


@cache
def set_names(name: str) -> Mapping[str, tuple[str, ...]]:
    """The classes of "stl10", "cifar10", "cifar100", "pets" or "pets-species" in their own order: key → Persian names.

    Raises:
        KeyError: There is no such set.
    """
    rows = (line.split(" ", 1) for line in _TABLES[name].strip().split("\n"))
    return {key: tuple(names.split("|")) for key, names in rows}


def plain_key(key: str) -> str:
    """A class key as look-ups compare it: lower case, words divided by one space.

    >>> plain_key("Great_Pyrenees")
    'great pyrenees'
    """
    return " ".join(key.replace("_", " ").replace("-", " ").casefold().split())


@cache
def known_names() -> Mapping[str, tuple[str, ...]]:
    """Every class that Peyda has Persian names for, by `plain_key` of its folder, WordNet id or English name.

    Where several tables know a name, the labelled sets come before ImageNet and the everyday words.
    """
    known: dict[str, tuple[str, ...]] = {}
    for one in imagenet_names():
        known[plain_key(one.wnid)] = one.fa
    for one in caltech101_names():
        known.setdefault(plain_key(one.wnid), one.fa)
    for name in _TABLES:
        for key, names in set_names(name).items():
            known.setdefault(plain_key(key), names)
    for one in imagenet_names():
        for english in one.en:
            known.setdefault(plain_key(english), one.fa)
    for phrase in everyday_names():
        known.setdefault(plain_key(phrase.en), phrase.fa)
    return known
