//! Commands, arguments and the environment.

use super::form;
use crate::problem::Place;
use crate::spec::LocalServiceSpec;

/// Drove's limits (docs/drove-api.md §2.2).
const MAX_ARGS: usize = 2048;
const MAX_ARGS_BYTES: usize = 2048;
const MAX_COMMAND_BYTES: usize = 32 * 1024;
const MAX_VARIABLES: usize = 1024;
const MAX_VARIABLE_BYTES: usize = 256;
/// A quarter of what Linux takes for one variable (`MAX_ARG_STRLEN`).
const MAX_VALUE_BYTES: usize = 32 * 1024;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec, args_disabled: bool) {
    args(spec_at.member("args"), &spec.args, args_disabled);
    let env = spec_at.member("env");
    if form::at_most(env, spec.env.len(), MAX_VARIABLES) {
        for (name, value) in &spec.env {
            variable(env.entry(name), name, value);
        }
    }
}

fn args(place: Place<'_>, args: &[String], disabled: bool) {
    place.require_or_sentence(
        !disabled || args.is_empty(),
        "Passing command line to containers is disabled on this cluster",
    );
    let joined = args.iter().map(String::len).sum::<usize>() + args.len().saturating_sub(1);
    place.require_or_sentence(
        args.len() <= MAX_ARGS && joined <= MAX_ARGS_BYTES,
        format_args!("Maximum combined length of command line arguments can be {MAX_ARGS_BYTES}"),
    );
    form::texts(place, args, MAX_ARGS, MAX_ARGS_BYTES);
}

fn variable(place: Place<'_>, name: &str, value: &str) {
    place.require(
        is_variable(name) && name.len() <= MAX_VARIABLE_BYTES,
        "- Is not the name of a variable: letters, digits, '_', '.' and '-', not beginning with a digit",
    );
    form::within(place, value, MAX_VALUE_BYTES);
}

fn is_variable(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.bytes().all(is_part) && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// The command of a check or hook.
pub(super) fn single(place: Place<'_>, command: &str) {
    form::present(place, command, "- Specify the command to run", MAX_COMMAND_BYTES);
}
