use jiff::tz::TimeZone;

use super::*;

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect(text)
}

/// In Berlin, where clocks change on 2026-03-29 (02:00 → 03:00) and 2026-10-25 (03:00 → 02:00).
fn berlin(text: &str) -> ZonedDateTime {
    let zone = TimeZone::get("Europe/Berlin").expect("the zone is known");
    let at: DateTime = text.parse().expect(text);
    at.to_zoned_datetime(zone).expect("a time of that zone")
}

fn opens(text: &str, now: &str) -> Option<String> {
    let opens = schedule(text).opens_at(&berlin(now))?;
    Some(opens.strftime("%Y-%m-%d %H:%M %z").to_string())
}

#[test]
fn over_midnight_a_range_belongs_to_the_day_on_which_it_begins() {
    let nights = schedule("22:00-07:00");
    for (now, is_open) in [
        ("2026-11-28T21:59:59", false),
        ("2026-11-28T22:00:00", true),
        ("2026-11-29T00:00:00", true),
        ("2026-11-29T06:59:59", true),
        ("2026-11-29T07:00:00", false),
    ] {
        assert_eq!(nights.is_open(&berlin(now)), is_open, "{now}");
    }
    // 2026-11-27 is a Friday.
    let friday = schedule("fri 22:00-07:00");
    assert!(friday.is_open(&berlin("2026-11-28T06:00:00")));
    assert!(!friday.is_open(&berlin("2026-11-27T06:00:00")));
    assert!(!friday.is_open(&berlin("2026-11-28T22:00:00")));
}

#[test]
fn days_stand_alone_or_before_a_range_and_ranges_are_added_up() {
    let mixed = schedule("mon-fri 18:00-08:00, sat-sun");
    for (now, is_open) in [
        ("2026-11-27T12:00:00", false),
        ("2026-11-27T18:00:00", true),
        ("2026-11-28T12:00:00", true),
        ("2026-11-29T23:59:59", true),
        ("2026-11-30T07:00:00", false),
    ] {
        assert_eq!(mixed.is_open(&berlin(now)), is_open, "{now}");
    }
    let over_the_week_s_end = schedule("sat-mon");
    assert!(over_the_week_s_end.is_open(&berlin("2026-11-30T12:00:00")));
    assert!(!over_the_week_s_end.is_open(&berlin("2026-12-01T00:00:00")));
    assert!(schedule("20:00-24:00").is_open(&berlin("2026-11-28T23:59:59")));
    assert!(schedule("always").is_open(&berlin("2026-11-28T12:00:00")));
}

#[test]
fn the_next_opening_is_the_nearest_of_all_ranges() {
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(
        opens("22:00-07:00", "2026-11-28T12:00:00"),
        told("2026-11-28 22:00 +0100")
    );
    assert_eq!(opens("22:00-07:00", "2026-11-28T23:00:00"), None, "it is open");
    assert_eq!(
        opens("fri 20:00-22:00, wed 6:00-7:00", "2026-11-27T22:00:00"),
        told("2026-12-02 06:00 +0100")
    );
    assert_eq!(opens("always", "2026-11-28T12:00:00"), None);
}

#[test]
fn a_clock_that_changes_leaves_an_hour_out_or_gives_it_twice() {
    let told = |text: &str| Some(text.to_owned());
    // The night in which 02:30 does not come.
    assert_eq!(
        opens("02:15-02:45", "2026-03-29T01:00:00"),
        told("2026-03-30 02:15 +0200")
    );
    assert_eq!(
        opens("02:30-04:00", "2026-03-29T01:00:00"),
        told("2026-03-29 03:00 +0200")
    );
    assert!(schedule("02:30-04:00").is_open(&berlin("2026-03-29T03:00:00")));
    // The night in which it comes twice.
    let first = berlin("2026-10-25T02:20:00");
    let second = first.checked_add(1.hour()).expect("an hour later");
    assert_eq!(second.datetime(), first.datetime());
    let early = schedule("02:30-02:40");
    let gap = first.checked_add(30.minutes()).expect("half an hour later");
    assert!(!early.is_open(&gap));
    assert_eq!(early.opens_at(&gap), first.checked_add(70.minutes()).ok());
    // 22:00 stays 22:00.
    assert_eq!(
        opens("22:00-07:00", "2026-10-25T12:00:00"),
        told("2026-10-25 22:00 +0100")
    );
}

#[test]
fn another_zone_shows_another_time() {
    let nights = schedule("22:00-07:00");
    let now = berlin("2026-11-28T22:30:00");
    assert!(nights.is_open(&now));
    let lisbon = TimeZone::get("Europe/Lisbon").expect("the zone is known");
    assert!(!nights.is_open(&now.with_time_zone(lisbon)));
}

#[test]
fn nonsense_is_refused_with_a_sentence() {
    for (text, why) in [
        ("", "must be \"always\" or times of day"),
        ("at night", "names the day \"at\"; known are mon, tue"),
        ("22:00", "must be \"always\" or times of day"),
        ("22-7", "must be \"always\" or times of day"),
        ("22:00-07:00,", "must be \"always\" or times of day"),
        ("22:00-22:00", "\"22:00-22:00\" holds no time; write \"always\""),
        ("24:00-07:00", "\"24:00-07:00\" holds no time"),
        ("22:00-24:01", "holds \"24:01\", which no clock shows"),
        ("22:61-07:00", "holds \"22:61\", which no clock shows"),
        ("22:0-07:00", "must be \"always\" or times of day"),
        ("+2:00-07:00", "must be \"always\" or times of day"),
        ("monday 22:00-07:00", "names the day \"monday\"; known are mon"),
        ("mon fri 22:00-07:00", "must be \"always\" or times of day"),
    ] {
        let told = Schedule::parse(text).expect_err(text);
        assert!(told.starts_with(why), "{text:?}: {told}");
    }
    let many = vec!["22:00-07:00"; RANGES_MAX + 1].join(",");
    assert!(Schedule::parse(&many).is_err());
}

#[test]
fn what_is_shown_is_read_back() {
    for text in [
        "always",
        "22:00-07:00",
        "sat-sun",
        "sun-tue 7:30-24:00, wed 0:00-1:00",
        "mon-sun",
    ] {
        let read = schedule(text);
        assert_eq!(schedule(&read.to_string()), read, "{text}: {read}");
    }
    assert_eq!(schedule("Sat-SUN").to_string(), "sat-sun 00:00-24:00");
}
