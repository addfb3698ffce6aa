//! The group of controllers: who is in it, and how that changes (an addition to Drove's API).

use axum::extract::State as Context;
use muster_common::cluster::{AddController, ControllerInfo, ControllerRole};
use muster_common::id::ControllerId;
use muster_common::read::accept;
use tonic::transport::Uri;

use super::access::Api;
use super::answer::{Answer, Data};
use super::body::Body;
use super::error::ApiError;
use super::path::Named;
use crate::raft::{ChangeError, Standing};

/// `GET /cluster/controllers`: what the leader knows; without one, what this controller knows.
pub(super) async fn list(Context(api): Context<Api>) -> Data<Vec<ControllerInfo>> {
    let list = api.consensus().members().await;
    let status = api.raft();
    let leader = status.leader.as_ref().map(|leader| leader.id);
    let info = |standing: Standing| {
        let Standing { member, votes, last, silent } = standing;
        let (leads, answers) = (leader == Some(member.id), member.id == api.id());
        ControllerInfo {
            id: member.id.0,
            api: member.api_addr,
            cluster: member.cluster_addr,
            leader: leads,
            role: match (leads, votes) {
                (true, _) => ControllerRole::Leader,
                (false, true) => ControllerRole::Voter,
                (false, false) => ControllerRole::Learner,
            },
            last_log: last,
            lag: list.last.zip(last).map(|(newest, last)| newest.saturating_sub(last)),
            silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
            applied_revision: answers.then_some(api.consensus().applied().0),
            term: answers.then_some(status.term),
        }
    };
    Data(list.members.into_iter().map(info).collect())
}

/// `POST /cluster/controllers`: takes a controller in. It answers once it is a learner; the leader gives it
/// its vote when it has caught up.
pub(super) async fn add(Context(api): Context<Api>, Body(body): Body) -> Answer<AddController> {
    let wanted = wanted(&body)?;
    let added = api.consensus().add_member(ControllerId(wanted.id), &wanted.cluster).await;
    added.map(|()| Data(wanted)).map_err(refused)
}

/// Which controller a body names.
pub(super) fn wanted(body: &[u8]) -> Result<AddController, ApiError> {
    Ok(accept(body, |wanted: &AddController| wanted.problems(is_address))?)
}

/// `DELETE /cluster/controllers/{id}`: takes a controller out.
pub(super) async fn remove(Context(api): Context<Api>, Named(id): Named<String>) -> Answer<u64> {
    let unknown = || ApiError::NotFound(format!("No controller found with id: {id}"));
    let wanted: u64 = id.parse().map_err(|_| unknown())?;
    match api.consensus().remove_member(ControllerId(wanted)).await {
        Ok(()) => Ok(Data(wanted)),
        Err(ChangeError::NoMember) => Err(unknown()),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: ChangeError) -> ApiError {
    match error {
        ChangeError::Refused { why } => ApiError::Conflict(why),
        error @ (ChangeError::NoMember | ChangeError::NoLeader { .. } | ChangeError::Unknown { .. }) => {
            ApiError::Unavailable(error.to_string())
        }
    }
}

fn is_address(text: &str) -> bool {
    let port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    port && format!("http://{text}").parse::<Uri>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_body_is_named_with_its_field() {
        let refusals = |body: &str| match wanted(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(ApiError::Validation(errors) | ApiError::Json(errors)) => errors,
            Err(other) => panic!("{other}"),
        };
        for (body, errors) in [
            (r#"{"id":4,"cluster":"10.0.0.4:4100"}"#, &[][..]),
            (r#"{"id":"4","cluster":"[::1]:4100","later":null}"#, &[]),
            ("", &["the body is empty; a JSON object is expected"]),
            ("[]", &["must be an object, not a list"]),
            (
                "{}",
                &[
                    "id - Specify the controller's id",
                    "cluster - Specify host:port of the controller's cluster port",
                ],
            ),
            (
                r#"{"id":"x","cluster":7}"#,
                &["id - must be a whole number", "cluster - '7' is no address; write host:port"],
            ),
            (
                r#"{"id":0,"cluster":"here:0"}"#,
                &["id - Ids begin at 1", "cluster - 'here:0' is no address; write host:port"],
            ),
        ] {
            let refused = refusals(body);
            if body == "[]" {
                assert_eq!(refused[0], errors[0]);
            } else {
                assert_eq!(refused, errors, "{body}");
            }
        }
    }
}
