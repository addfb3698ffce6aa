//! Machines on a network of their own: each a Linux network namespace, with a cable to one switch.
//!
//! Nothing of it is visible on the host, and nothing of it has a name. All of it hangs on one process, the first of a
//! process namespace in which everything runs that is started here: when it ends, the kernel ends the rest and takes
//! the namespaces away. It ends when its standard input does, so also when this process is killed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::machine::Machine;

/// The network of the machines, within the switch's own namespace.
const SUBNET: &str = "10.77.0";
/// Frames of a machine that is cut off go nowhere, in either direction, and nobody is told: silence, not a reset. Who
/// has which address stays known.
const SWITCH: &str = "
table bridge faults {
    set cut { type ifname; }
    set apart { type ifname . ifname; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        iifname @cut ether type ip drop
        oifname @cut ether type ip drop
        iifname . oifname @apart ether type ip drop
    }
}
";

/// What cannot be done here, in words.
pub(super) type Why = String;

/// A switch and what runs on the machines at it. All of that ends with it.
pub struct Network {
    holder: Holder,
    machines: u8,
}

impl Network {
    /// A switch without machines; `None` where namespaces may not be made, which is said.
    /// `MUSTER_REQUIRE_NETNS=1` says that they may: then the test fails.
    #[must_use]
    pub fn new(test: &str) -> Option<Self> {
        match Self::make() {
            Ok(network) => Some(network),
            Err(why) => {
                assert!(
                    std::env::var("MUSTER_REQUIRE_NETNS").as_deref() != Ok("1"),
                    "{test} needs network namespaces, which MUSTER_REQUIRE_NETNS=1 promises: {why}"
                );
                eprintln!("skipped: {test} needs network namespaces: {why}");
                None
            }
        }
    }

    fn make() -> Result<Self, Why> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "cat"]);
        let network = Self { holder: Holder::start(unshare)?, machines: 0 };
        network.ip(&["link add switch type bridge", "link set switch up"])?;
        network.at_switch("nft", &["-f", "-"], SWITCH)?;
        Ok(network)
    }

    /// One more machine, plugged in.
    #[must_use]
    pub fn machine(&mut self) -> Machine {
        self.machines += 1;
        self.plug_in(self.machines).expect("another machine")
    }

    fn plug_in(&self, number: u8) -> Result<Machine, Why> {
        let root = self.holder.pid();
        let mut unshare = Command::new("unshare");
        // In that order: the machine's network is that of the process that is known here.
        unshare.args(["--net", "nsenter"]).args(inside(root)).arg("cat");
        let holder = Holder::start(unshare)?;
        let port = port(number);
        self.ip(&[
            &format!("link add {port} type veth peer name eth0 netns {}", holder.pid()),
            &format!("link set {port} master switch up"),
        ])?;
        let address = format!("{SUBNET}.{number}");
        let net = format!("--net=/proc/{}/ns/net", holder.pid());
        let commands = format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n");
        run(Command::new("nsenter").args([&net, "ip", "-batch", "-"]), &commands)?;
        let mut enter = inside(root);
        enter.insert(0, net);
        Ok(Machine::new(holder, number, address, enter))
    }

    /// Cuts a machine off: from now on it hears nobody, and nobody hears it.
    pub fn cut(&self, machine: &Machine) {
        self.cuts("add", machine);
    }

    /// Ends that.
    pub fn mend(&self, machine: &Machine) {
        self.cuts("delete", machine);
    }

    /// Cuts two machines off from each other: all others hear both.
    pub fn part(&self, one: &Machine, other: &Machine) {
        self.parts("add", one, other);
    }

    /// Ends that.
    pub fn join(&self, one: &Machine, other: &Machine) {
        self.parts("delete", one, other);
    }

    fn cuts(&self, verb: &str, machine: &Machine) {
        self.change(&format!("{verb} element bridge faults cut {{ {} }}", port(machine.number())));
    }

    fn parts(&self, verb: &str, one: &Machine, other: &Machine) {
        let (one, other) = (port(one.number()), port(other.number()));
        self.change(&format!("{verb} element bridge faults apart {{ {one} . {other}, {other} . {one} }}"));
    }

    fn change(&self, element: &str) {
        self.at_switch("nft", &["-f", "-"], element).expect("the switch obeys");
    }

    fn ip(&self, commands: &[&str]) -> Result<(), Why> {
        self.at_switch("ip", &["-batch", "-"], &commands.join("\n"))
    }

    fn at_switch(&self, program: &str, args: &[&str], input: &str) -> Result<(), Why> {
        let net = format!("--net=/proc/{}/ns/net", self.holder.pid());
        run(Command::new("nsenter").arg(net).arg(program).args(args), input)
    }
}

/// The port of the switch that a machine is plugged in at.
fn port(number: u8) -> String {
    format!("port{number}")
}

/// Arguments of `nsenter`: among the processes, and with the `/proc`, of the switch whose first process `root` made.
fn inside(root: u32) -> Vec<String> {
    vec![format!("--mount=/proc/{root}/ns/mnt"), format!("--pid=/proc/{root}/ns/pid_for_children")]
}

/// Runs a command on `input` to its end.
fn run(command: &mut Command, input: &str) -> Result<(), Why> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let written = child.stdin.take().expect("its input is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() && written.is_ok() {
        return Ok(());
    }
    let mut why = format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    if let Err(error) = written {
        write!(why, " ({error})").expect("writing to a String");
    }
    Err(why)
}

/// A process that keeps namespaces alive, itself or by its child, and ends with its standard input.
pub(super) struct Holder {
    process: Child,
    input: Option<ChildStdin>,
}

impl Holder {
    /// Starts a command that runs `cat` in the namespaces, and waits until it does.
    fn start(mut command: Command) -> Result<Self, Why> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let input = process.stdin.take();
        let output = process.stdout.take().expect("its output is piped");
        let mut holder = Self { process, input };
        let mut echo = String::new();
        let asked = holder.input.as_mut().expect("its input is piped").write_all(b"here\n");
        let heard = BufReader::new(output).read_line(&mut echo);
        if asked.is_ok() && heard.is_ok() && echo == "here\n" {
            return Ok(holder);
        }
        // Then it ends, and what it complained of is complete.
        holder.input = None;
        let mut why = format!("{command:?}: ");
        if let Some(mut complaints) = holder.process.stderr.take() {
            complaints.read_to_string(&mut why).map_err(|error| error.to_string())?;
        }
        Err(why)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.input = None;
        // Once it is over, so is everything that ran in its process namespace.
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_cut_off_hears_nothing_until_that_ends_and_nothing_is_left() {
        let Some(mut network) = Network::new("a machine that is cut off") else { return };
        let (here, there, elsewhere) = (network.machine(), network.machine(), network.machine());
        let listener = there.listen(1234);
        let reached =
            |from: [&Machine; 2]| from.map(|from| from.connects(&format!("{}:1234", there.address())));
        let from = [&here, &elsewhere];
        assert_eq!(reached(from), [true, true]);
        network.cut(&there);
        assert_eq!(reached(from), [false, false]);
        network.mend(&there);
        network.part(&there, &here);
        assert_eq!(reached(from), [false, true]);
        network.join(&there, &here);
        assert_eq!(reached(from), [true, true]);
        let log = tempfile::NamedTempFile::new().unwrap();
        let sleeper = here.spawn(&["sleep", "1000"], log.reopen().unwrap());
        let pid = sleeper.pid();
        assert!(crate::cluster::is_alive(pid));
        drop((listener, network));
        assert!(!crate::cluster::is_alive(pid), "what ran on a machine ends with the network");
    }
}
