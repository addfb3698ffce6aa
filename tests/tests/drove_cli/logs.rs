//! `lsinstances logs`, `tail` and `download`.

use serde_json::json;

use crate::commands::Drove;

const CHATTY: &str = "chatty-1";

impl Drove<'_> {
    /// Of an instance that writes a line every so often.
    pub(crate) fn reads_logs(&self) {
        let check = json!({
            "mode": {"type": "CMD", "command": "true"}, "timeout": "5s", "interval": "1s", "attempts": 3
        });
        let chatty = json!({
            "name": "chatty", "version": "1", "type": "LOCAL_SERVICE",
            "executable": {"type": "PROCESS", "command": ["sh", "-c", "while echo a line of chatter; do sleep 0.2; done"]},
            "exposedPorts": [{"name": "main", "port": 8080, "type": "TCP"}],
            "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 16}],
            "placementPolicy": {"type": "LOCAL", "hostLevel": false},
            "readiness": check, "healthcheck": check
        });
        std::fs::write(self.client.home().join("chatty.json"), chatty.to_string()).unwrap();
        self.says(&["localservices", "create", "chatty.json"], &["Local service created"]);
        self.says(&["localservices", "activate", CHATTY], &["Local service activated"]);
        let instance = &self.healthy(CHATTY, 2)[0].instance_id;
        if !self.serves(&format!("logfiles/localservices/{CHATTY}/{instance}/list")) {
            eprintln!("SKIPPED lsinstances logs, tail and download: the controllers do not serve logs");
            return;
        }
        self.says(&["lsinstances", "logs", CHATTY, instance], &["files", "output.log"]);
        let tail = ["lsinstances", "tail", CHATTY, instance];
        self.follows(&tail, "a line of chatter\na line of chatter\n");
        let skipping = [&tail[..], &["-l", "output.log", "-S", "2"]].concat();
        self.follows(&skipping, "line of chatter\nline of chatter\n");
        let download = ["lsinstances", "download", CHATTY, instance, "output.log", "-o", "chatter.log"];
        self.says(&download, &["Downloading log to: chatter.log", "Downloaded size: "]);
        let downloaded = std::fs::read_to_string(self.client.home().join("chatter.log")).unwrap();
        assert!(downloaded.starts_with("a line of chatter\n"), "{downloaded}");
    }
}
