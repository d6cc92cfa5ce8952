//! Owns quiet hours: what `schedule` means, and when the next job may begin. Pure: the time and its zone are given.
//!
//! Everything is decided by what a clock on the wall shows: `22:00` is 22:00 before and after the clocks change. An hour
//! that is left out by the change is left out here, one that comes twice counts twice.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{ToSpan as _, ZonedDateTime};

use super::values::quoted;

/// Ranges of one schedule: more is a mistake of the program that wrote it.
const RANGES_MAX: usize = 32;

/// Days that are looked through for the next opening: every range that ever opens does so within a week, and once more
/// where a change of the clocks leaves one out.
const DAYS_AHEAD: i64 = 15;

/// When jobs of a folder may begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Empty: always.
    ranges: Vec<Range>,
}

/// From one time of day to another, on the days on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// From Monday on; bit by bit.
    days: u8,
    from_min: u16,
    /// At or before `from_min`: on the next day.
    to_min: u16,
}

const EVERY_DAY: u8 = 0b111_1111;
const DAY_MIN: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const FORM: &str =
    "must be \"always\" or times of day such as \"22:00-07:00\", \"sat-sun\" or \"mon-fri 18:00-08:00\"";

impl Schedule {
    /// Reads a schedule: ranges of times, each with the days on which it begins or on every day, separated by commas.
    ///
    /// # Errors
    /// Why not.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "always" {
            return Ok(Self::default());
        }
        let ranges = text
            .split(',')
            .map(|part| Range::parse(part.trim()).map_err(|why| why.unwrap_or_else(|| refused(text))))
            .collect::<Result<Vec<_>, _>>()?;
        if ranges.len() > RANGES_MAX {
            return Err(format!("has more than {RANGES_MAX} ranges; join some"));
        }
        Ok(Self { ranges })
    }

    /// Whether a job may begin at any time.
    pub fn is_always(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a job may begin now.
    pub fn is_open(&self, now: &ZonedDateTime) -> bool {
        self.is_always() || self.ranges.iter().any(|range| range.holds(now.datetime()))
    }

    /// When the next job may begin; `None`: now, or never within two weeks.
    pub fn opens_at(&self, now: &ZonedDateTime) -> Option<ZonedDateTime> {
        if self.is_open(now) {
            return None;
        }
        let (zone, date) = (now.time_zone(), now.date());
        let days = (0..DAYS_AHEAD).filter_map(|ahead| date.checked_add(ahead.days()).ok());
        let begins = days.flat_map(|day| self.ranges.iter().filter_map(move |range| range.begins_on(day)));
        // A time that comes twice begins twice.
        let begins = begins.flat_map(|begin| {
            let ambiguous = zone.to_ambiguous_zoned_datetime(begin);
            [ambiguous.clone().earlier(), ambiguous.later()]
        });
        // A beginning that is left out is where the clocks change.
        let changes = zone.following(now.timestamp()).take(1);
        let changes = changes.map(|change| change.timestamp().to_zoned_datetime(zone.clone()));
        begins
            .filter_map(Result::ok)
            .chain(changes)
            .filter(|begin| begin > now && self.is_open(begin))
            .min()
    }
}

fn refused(text: &str) -> String {
    format!("{FORM}, not {}", quoted(text))
}

impl Range {
    /// `Err(None)`: not of this form at all.
    fn parse(text: &str) -> Result<Self, Option<String>> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words.as_slice() {
            [only] if only.starts_with(|first: char| first.is_ascii_digit()) => (EVERY_DAY, *only),
            [only] => (days(only)?, "00:00-24:00"),
            [named, times] => (days(named)?, *times),
            _ => return Err(None),
        };
        let (from, to) = times.split_once('-').ok_or(None)?;
        let (from_min, to_min) = (minutes(from)?, minutes(to)?);
        if from_min == to_min || from_min == DAY_MIN {
            return Err(Some(format!(
                "{} holds no time; write \"always\", days alone for whole days, or another end",
                quoted(text)
            )));
        }
        Ok(Self {
            days,
            from_min,
            to_min,
        })
    }

    fn is_on(self, day: Weekday) -> bool {
        self.days & (1 << day.to_monday_zero_offset()) != 0
    }

    fn holds(self, now: DateTime) -> bool {
        let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
        let today = now.date().weekday();
        let since_today = self.is_on(today) && minute >= self.from_min;
        if self.from_min < self.to_min {
            return since_today && minute < self.to_min;
        }
        since_today || (self.is_on(today.previous()) && minute < self.to_min)
    }

    fn begins_on(self, date: Date) -> Option<DateTime> {
        let (hour, minute) = (self.from_min / 60, self.from_min % 60);
        let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
        self.is_on(date.weekday()).then(|| date.to_datetime(time))
    }
}

/// `sat`, `mon-fri`, also over the end of the week.
fn days(text: &str) -> Result<u8, Option<String>> {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        DAYS.iter().position(|day| *day == name).ok_or_else(|| {
            let shown = quoted(&name);
            Some(format!("names the day {shown}; known are {}", DAYS.join(", ")))
        })
    };
    // What has no letters is no day that was mistyped.
    if !text.contains(|char: char| char.is_ascii_alphabetic()) {
        return Err(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7;
    Ok((0..=count).fold(0, |days, ahead| days | 1 << ((first + ahead) % 7)))
}

/// `07:00`, `7:30`, `24:00`; minutes since midnight.
fn minutes(text: &str) -> Result<u16, Option<String>> {
    let (hour, minute) = text.split_once(':').ok_or(None)?;
    let number = |text: &str, most: usize| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|_| is_number && text.len() >= most)
    };
    let (hour, minute) = number(hour, 1).zip(number(minute, 2)).ok_or(None)?;
    let total = hour * 60 + minute;
    if minute > 59 || total > DAY_MIN {
        return Err(Some(format!(
            "holds {}, which no clock shows; hours go from 00:00 to 24:00",
            quoted(text)
        )));
    }
    Ok(total)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_always() {
            return f.write_str("always");
        }
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{range}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let times = format!("{}-{}", time(self.from_min), time(self.to_min));
        if self.days == EVERY_DAY {
            return f.write_str(&times);
        }
        // Days came as one run: the first is the one whose predecessor is not in it.
        let is_on = |day: usize| self.days & (1 << (day % 7)) != 0;
        let first = (0..7).find(|day| is_on(*day) && !is_on(day + 6)).unwrap_or(0);
        let last = first + self.days.count_ones() as usize - 1;
        match first == last {
            true => write!(f, "{} {times}", DAYS[first]),
            false => write!(f, "{}-{} {times}", DAYS[first], DAYS[last % 7]),
        }
    }
}

#[cfg(test)]
mod tests;
