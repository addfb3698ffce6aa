//! Expressions are read by recursive descent, no deeper and no longer than [`MAX_DEPTH`] and [`MAX_BYTES`] allow.

use std::str::FromStr;

use super::{KEYWORDS, MAX_BYTES, MAX_DEPTH, TagExpression};
use crate::executor::{TAG_RULE, is_tag};
use crate::problem::Quoted;

/// A text that is not an expression over tags. Columns count characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTagExpression {
    /// It says nothing.
    #[error("Specify tags, such as '(ssd and zone=a) or not gpu', or leave it out")]
    Empty,
    /// It is too long, as it is or written in full.
    #[error(
        "An expression over tags has {MAX_BYTES} bytes at most; give the executors a tag for what is meant"
    )]
    TooLong,
    /// It is too deep, as it is or written in full.
    #[error(
        "Brackets and 'not' are nested more than {MAX_DEPTH} deep; give the executors a tag for what is meant"
    )]
    TooDeep,
    /// Something else was expected.
    #[error("Column {column}: {expected} is expected, and there is {found}")]
    Unexpected {
        /// Where.
        column: usize,
        /// What.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A quote is not closed.
    #[error("Column {column}: this quote is not closed")]
    Unclosed {
        /// Where it begins.
        column: usize,
    },
    /// What no executor can have.
    #[error("Column {column}: '{text}' is no tag. {}", TAG_RULE.trim_start_matches("- "))]
    NoTag {
        /// Where.
        column: usize,
        /// What is there.
        text: String,
    },
}

const A_TAG: &str = "a tag, 'not' or '('";

impl FromStr for TagExpression {
    type Err = InvalidTagExpression;

    fn from_str(text: &str) -> Result<Self, InvalidTagExpression> {
        let expression = whole(text)?;
        // Brackets that need not be are written as well; what is stored must be read again.
        whole(&expression.to_string())?;
        Ok(expression)
    }
}

fn whole(text: &str) -> Result<TagExpression, InvalidTagExpression> {
    if text.len() > MAX_BYTES {
        return Err(InvalidTagExpression::TooLong);
    }
    if text.trim().is_empty() {
        return Err(InvalidTagExpression::Empty);
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expression = parser.any()?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("'and', 'or' or the end")),
    }
}

/// A word that may be a keyword, or something in quotes, which never is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Keyword(&'static str),
    Tag(String),
    End,
}

/// What there is, with the column at which it begins. The last is [`Token::End`].
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, InvalidTagExpression> {
    let mut tokens = Vec::new();
    let mut rest = (1..).zip(text.chars()).peekable();
    while let Some((column, first)) = rest.next() {
        let token = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '"' => Token::Tag(quoted(column, &mut rest)?),
            space if space.is_whitespace() => continue,
            first => {
                let mut word = String::from(first);
                let goes_on = |c: char| !c.is_whitespace() && !matches!(c, '(' | ')' | '"');
                while let Some((_, c)) = rest.next_if(|(_, c)| goes_on(*c)) {
                    word.push(c);
                }
                let keyword = KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(&word));
                keyword.map_or(Token::Tag(word), Token::Keyword)
            }
        };
        match token {
            Token::Tag(text) if !is_tag(&text) => {
                return Err(InvalidTagExpression::NoTag { column, text: Quoted(&text).to_string() });
            }
            token => tokens.push((column, token)),
        }
    }
    tokens.push((text.chars().count() + 1, Token::End));
    Ok(tokens)
}

/// What is behind the quote at `column`, up to the next that does not stand twice.
fn quoted(
    column: usize,
    rest: &mut std::iter::Peekable<impl Iterator<Item = (usize, char)>>,
) -> Result<String, InvalidTagExpression> {
    let mut text = String::new();
    while let Some((_, c)) = rest.next() {
        if c == '"' && rest.next_if(|(_, c)| *c == '"').is_none() {
            return Ok(text);
        }
        text.push(c);
    }
    Err(InvalidTagExpression::Unclosed { column })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_it = self.peek() == token;
        self.next += usize::from(is_it);
        is_it
    }

    fn any(&mut self) -> Result<TagExpression, InvalidTagExpression> {
        self.joined("or", Self::all, TagExpression::Any)
    }

    fn all(&mut self) -> Result<TagExpression, InvalidTagExpression> {
        self.joined("and", Self::one, TagExpression::All)
    }

    /// One part, or several with a keyword between them.
    fn joined(
        &mut self,
        between: &'static str,
        part: fn(&mut Self) -> Result<TagExpression, InvalidTagExpression>,
        join: fn(Vec<TagExpression>) -> TagExpression,
    ) -> Result<TagExpression, InvalidTagExpression> {
        let first = part(self)?;
        if *self.peek() != Token::Keyword(between) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(&Token::Keyword(between)) {
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn one(&mut self) -> Result<TagExpression, InvalidTagExpression> {
        if let Token::Tag(tag) = self.peek() {
            let tag = TagExpression::Tag(tag.clone());
            self.next += 1;
            return Ok(tag);
        }
        if self.depth == MAX_DEPTH {
            return Err(InvalidTagExpression::TooDeep);
        }
        self.depth += 1;
        let inner = if self.take(&Token::Keyword("not")) {
            TagExpression::Not(Box::new(self.one()?))
        } else if self.take(&Token::Open) {
            let inner = self.any()?;
            if !self.take(&Token::Close) {
                return Err(self.unexpected("'and', 'or' or ')'"));
            }
            inner
        } else {
            return Err(self.unexpected(A_TAG));
        };
        self.depth -= 1;
        Ok(inner)
    }

    fn unexpected(&self, expected: &'static str) -> InvalidTagExpression {
        let column = self.tokens.get(self.next).map_or(1, |(column, _)| *column);
        let found = match self.peek() {
            Token::Open => "'('".to_owned(),
            Token::Close => "')'".to_owned(),
            Token::Keyword(keyword) => format!("'{keyword}'"),
            Token::Tag(tag) => format!("'{}'", Quoted(tag)),
            Token::End => "nothing more".to_owned(),
        };
        InvalidTagExpression::Unexpected { column, expected, found }
    }
}
