//! Expressions are read as they are written, and say for which tags' sake they do not hold.

use proptest::prelude::*;

use super::*;
use crate::strategy::tag_expression;

fn read(text: &str) -> TagExpression {
    text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

#[test]
fn not_binds_closer_than_and_and_that_closer_than_or() {
    for (text, in_full) in [
        ("ssd", "ssd"),
        (" ( ( zone=a ) ) ", "zone=a"),
        ("a and b or c and not d", "(a and b) or (c and not d)"),
        ("a AND b and c", "a and b and c"),
        ("(a and b) and c", "(a and b) and c"),
        ("Not not a", "not not a"),
        ("not(a or b)", "not (a or b)"),
        ("(ssd and zone=a) or not gpu", "(ssd and zone=a) or not gpu"),
        ("android or notary", "android or notary"),
        (r#""and" or "a(b)" or "say""so""""#, r#""and" or "a(b)" or "say""so""""#),
        (r#""plain""#, "plain"),
    ] {
        assert_eq!(read(text).to_string(), in_full, "{text}");
    }
}

#[test]
fn what_is_no_expression_is_told_where() {
    for (text, message) in [
        ("", "Specify tags, such as '(ssd and zone=a) or not gpu', or leave it out"),
        (" ", "Specify tags, such as '(ssd and zone=a) or not gpu', or leave it out"),
        ("ssd and", "Column 8: a tag, 'not' or '(' is expected, and there is nothing more"),
        ("or ssd", "Column 1: a tag, 'not' or '(' is expected, and there is 'or'"),
        ("ssd gpu", "Column 5: 'and', 'or' or the end is expected, and there is 'gpu'"),
        ("ä (b)", "Column 3: 'and', 'or' or the end is expected, and there is '('"),
        ("(a or b", "Column 8: 'and', 'or' or ')' is expected, and there is nothing more"),
        ("a)", "Column 2: 'and', 'or' or the end is expected, and there is ')'"),
        ("not ()", "Column 6: a tag, 'not' or '(' is expected, and there is ')'"),
        ("a or \"b", "Column 6: this quote is not closed"),
        (
            "a or b,c",
            "Column 6: 'b,c' is no tag. A tag is a word or key=value of at most 255 bytes, without spaces and commas",
        ),
        (
            "\"\"",
            "Column 1: '' is no tag. A tag is a word or key=value of at most 255 bytes, without spaces and commas",
        ),
    ] {
        assert_eq!(text.parse::<TagExpression>().unwrap_err().to_string(), message, "{text:?}");
    }
}

#[test]
fn an_expression_is_bounded_also_as_it_is_written_in_full() {
    let deep = |brackets: usize| format!("{}a{}", "(".repeat(brackets), ")".repeat(brackets));
    assert_eq!(read(&deep(MAX_DEPTH)), TagExpression::Tag("a".to_owned()));
    for too_deep in [deep(MAX_DEPTH + 1), deep(500), "not ".repeat(MAX_DEPTH + 1) + "a"] {
        assert_eq!(too_deep.parse::<TagExpression>(), Err(InvalidTagExpression::TooDeep));
    }
    let nots = "not ".repeat(MAX_DEPTH - 1);
    read(&format!("{nots}(a or b)"));
    let written_deeper = format!("{nots}(a and b or c)");
    assert_eq!(written_deeper.parse::<TagExpression>(), Err(InvalidTagExpression::TooDeep));

    let long = ["a"; MAX_BYTES / 6].join(" and ");
    read(&long);
    assert_eq!(format!("{long} and a and a").parse::<TagExpression>(), Err(InvalidTagExpression::TooLong));
    let written_longer = ["a and b"; MAX_BYTES / 11].join(" or ");
    assert!(written_longer.len() <= MAX_BYTES);
    assert_eq!(written_longer.parse::<TagExpression>(), Err(InvalidTagExpression::TooLong));
}

#[test]
fn it_is_said_for_which_tags_sake_it_does_not_hold() {
    let has = |tag: &str| matches!(tag, "gpu" | "zone=a");
    for (text, why) in [
        ("gpu and zone=a", ""),
        ("(ssd and zone=b) or gpu", ""),
        ("not ssd", ""),
        ("not gpu", "it has the tag gpu"),
        ("(ssd and zone=a) or not gpu", "it lacks the tag ssd; it has the tag gpu"),
        ("ssd or zone=b", "it lacks the tag ssd; it lacks the tag zone=b"),
        ("not (gpu and zone=a)", "it has the tag gpu; it has the tag zone=a"),
        ("not (gpu or ssd)", "it has the tag gpu"),
        ("ssd and (zone=a or ssd)", "it lacks the tag ssd"),
    ] {
        let expression = read(text);
        let culprits = expression.culprits(&has);
        let said: Vec<_> = culprits.iter().map(ToString::to_string).collect();
        assert_eq!(said.join("; "), why, "{text}");
        assert_eq!(expression.holds(&has), why.is_empty(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(expression in tag_expression()) {
        prop_assert_eq!(expression.to_string().parse(), Ok(expression));
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again(text in r#"([ab"() ]|and |or |not ){0,24}"#) {
        if let Ok(expression) = text.parse::<TagExpression>() {
            prop_assert_eq!(expression.to_string().parse(), Ok(expression));
        }
    }

    #[test]
    fn it_holds_where_no_tag_is_to_blame_and_what_is_blamed_is_so(expression in tag_expression(), seed in any::<u64>()) {
        // An executor that has about half of the tags.
        let has = |tag: &str| (tag.bytes().map(u64::from).sum::<u64>() ^ seed) & 1 == 1;
        let culprits = expression.culprits(&has);
        prop_assert_eq!(culprits.is_empty(), expression.holds(&has));
        for culprit in culprits {
            match culprit {
                Culprit::Lacks(tag) => prop_assert!(!has(tag)),
                Culprit::Has(tag) => prop_assert!(has(tag)),
            }
        }
    }
}
