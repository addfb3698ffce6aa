//! The time as the engine writes it: of a container's end, and before a line of a log when it is asked to. Pure.

/// Days from March 1st of the year 0 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// The time before an entry, in nanoseconds since 1970, and the entry itself. `None`: it has none.
pub(super) fn split(entry: &[u8]) -> Option<(u64, &[u8])> {
    let blank = entry.iter().position(|&byte| byte == b' ')?;
    let stamp = std::str::from_utf8(&entry[..blank]).ok()?;
    Some((nanos(stamp)?, &entry[blank + 1..]))
}

/// RFC 3339, in any zone: one log driver writes UTC, another local time.
pub(super) fn nanos(stamp: &str) -> Option<u64> {
    let (date, time) = stamp.split_once('T')?;
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-'])?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [year, month, day] = numbers(date, '-')?;
    let [hours, minutes, seconds] = numbers(clock, ':')?;
    let offset = match zone.split_at(1) {
        ("Z", _) => 0,
        (sign, ahead) => {
            let [hours, minutes] = numbers(ahead, ':')?;
            (hours * 60 + minutes) * if sign == "+" { 60 } else { -60 }
        }
    };
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset;
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?).ok()
}

fn numbers<const COUNT: usize>(text: &str, between: char) -> Option<[i64; COUNT]> {
    let numbers: Option<Vec<i64>> = text.split(between).map(|number| number.parse().ok()).collect();
    // So that no sum of them overflows.
    numbers?.try_into().ok().filter(|numbers: &[i64; COUNT]| numbers.iter().all(|n| (0..10_000).contains(n)))
}

/// Days since 1970-01-01 in the Gregorian calendar, by years that begin on March 1st.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

#[cfg(test)]
mod tests {
    use muster_common::time::Timestamp;

    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_is_shown() {
        for ms in [0, 951_782_400_000, 951_868_799_999, 1_719_892_354_194, 4_107_542_400_000] {
            assert_eq!(nanos(&Timestamp(ms).to_string()), Some(ms * 1_000_000));
        }
        let utc = nanos("2026-11-21T14:50:44.868923089Z");
        assert_eq!(utc.map(|nanos| nanos % 1_000_000_000), Some(868_923_089));
        assert_eq!(nanos("2026-11-21T16:50:44.868923089+02:00"), utc);
        assert_eq!(nanos("2026-11-21T12:20:44.868923089-02:30"), utc);
    }

    #[test]
    fn an_entry_without_a_stamp_is_told() {
        assert_eq!(split(b"1970-01-01T00:00:01Z two words\n"), Some((1_000_000_000, &b"two words\n"[..])));
        assert_eq!(split(b"1970-01-01T00:00:01Z "), Some((1_000_000_000, &b""[..])));
        for other in
            ["Error grabbing logs: EOF\n", "", "1970-01-01 00:00:01Z x", "1970-01-01T00:00Z x", "9Tx "]
        {
            assert_eq!(split(other.as_bytes()), None, "{other}");
        }
    }
}
