//! The environment of an instance. Pure: variables that it copies from the executor are filled in at its start,
//! where the node's configuration allows them.

use std::collections::BTreeMap;

use muster_common::instance::LocalInfo;

use crate::machine::Instance;

/// `HOST`, `PORT_<containerPort>` and `PORT_<name>` with the *host* ports, then the spec's own, then `MUSTER_*`. Of an
/// empty value of the spec there is nothing yet: it stands for the executor's own variable (`runner/access.rs`).
#[must_use]
pub(crate) fn environment(instance: &Instance) -> BTreeMap<String, String> {
    let record = &instance.record;
    let mut env = BTreeMap::new();
    if let Some(LocalInfo { hostname, ports }) = &record.local_info {
        env.insert("HOST".to_owned(), hostname.clone());
        for (name, port) in ports {
            env.insert(format!("PORT_{}", port.container_port), port.host_port.to_string());
            env.insert(format!("PORT_{}", sanitised(name)), port.host_port.to_string());
        }
    }
    let given = instance.spec.env.iter().filter(|(_, value)| !value.is_empty());
    env.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    // Last, so that no spec replaces them: what an instance leaves behind is known by its id.
    env.extend([
        ("MUSTER_SERVICE_ID".to_owned(), record.slot.service.to_string()),
        ("MUSTER_SERVICE_NAME".to_owned(), record.service_name.clone()),
        ("MUSTER_INSTANCE_ID".to_owned(), record.id.to_string()),
        ("MUSTER_EXECUTOR_ID".to_owned(), record.slot.executor.to_string()),
        ("MUSTER_SLOT".to_owned(), record.slot.index.to_string()),
    ]);
    env
}

/// What is not a letter, digit or `_` becomes `_`.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId, SlotId};
    use muster_common::instance::InstancePort;
    use muster_common::slot::{ReplaceMode, SlotAssignment};
    use muster_common::spec::PortType;
    use muster_common::time::Timestamp;

    use super::*;
    use crate::machine::Now;

    #[test]
    fn ports_ids_and_the_specs_own_variables() {
        let spec = r#"{"name": "web", "version": "1",
            "env": {"A": "1", "HOST": "mine", "COPIED": "", "MUSTER_INSTANCE_ID": "SI-2"}}"#;
        let service = ServiceId::new("web-1").unwrap();
        let row = SlotAssignment {
            service: service.clone(),
            index: 2,
            epoch: Epoch(1),
            generation: Generation(1),
            mode: ReplaceMode::StartFirst,
            spec: Arc::new(serde_json::from_str(spec).unwrap()),
        };
        let slot = SlotId { service, executor: ExecutorId::new("e1").unwrap(), index: 2 };
        let now = Now { wall: Timestamp(0), mono: Duration::ZERO };
        let mut instance = Instance::minted(InstanceId::new("SI-1").unwrap(), slot, &row, now);
        let port = InstancePort { container_port: 80, host_port: 5001, port_type: PortType::Http };
        let ports = BTreeMap::from([("my-http.x".to_owned(), port)]);
        instance.record.local_info = Some(LocalInfo { hostname: "node".to_owned(), ports });
        let env = environment(&instance);
        let expected = [
            ("A", "1"),
            ("HOST", "mine"),
            ("MUSTER_EXECUTOR_ID", "e1"),
            ("MUSTER_INSTANCE_ID", "SI-1"),
            ("MUSTER_SERVICE_ID", "web-1"),
            ("MUSTER_SERVICE_NAME", "web"),
            ("MUSTER_SLOT", "2"),
            ("PORT_80", "5001"),
            ("PORT_my_http_x", "5001"),
        ];
        assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
