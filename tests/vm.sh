#!/usr/bin/env bash
# Runs test binaries under systemd on cgroup v2, in a Debian machine of their own, for who develops where v1 is:
#
#   cargo test -p muster-executor --no-run
#   tests/vm.sh target/debug/deps/process_limits-<hash> …
#
# Needs root, mmdebstrap, qemu-system-x86 and e2fsprogs. The machine is made once, in MUSTER_VM (/tmp/muster-vm), and has no
# network. Where KVM does not work, MUSTER_VM_ACCEL=tcg,thread=multi emulates the processor, ten times slower. What a test
# would skip for want of permission fails it here. Ends with 0 when all of them passed.
set -euo pipefail

vm=${MUSTER_VM:-/tmp/muster-vm}
accel=${MUSTER_VM_ACCEL:-kvm}
repository=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$vm"

if ! [ -e "$vm/disk.img" ]; then
    packages=systemd-sysv,udev,procps,python3-minimal,linux-image-cloud-amd64,initramfs-tools
    mmdebstrap --variant=minbase --include=$packages trixie "$vm/root" http://deb.debian.org/debian
    echo '/dev/vda / ext4 defaults 0 1' > "$vm/root/etc/fstab"
    cat > "$vm/root/etc/systemd/system/muster-tests.service" <<'UNIT'
[Unit]
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
# As deploy/muster-executor.service has it.
Delegate=yes
DelegateSubgroup=muster-agent
TasksMax=infinity
Environment=MUSTER_REQUIRE_DOCKER=1
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStartPre=tar -xf /dev/vdb -C /
ExecStart=/muster-tests
[Install]
WantedBy=multi-user.target
UNIT
    chroot "$vm/root" systemctl enable muster-tests
    cp "$vm"/root/boot/vmlinuz-* "$vm/kernel"
    cp "$vm"/root/boot/initrd.img-* "$vm/initrd"
    mke2fs -q -t ext4 -d "$vm/root" "$vm/disk.new" 4G
    rm -rf "$vm/root"
    mv "$vm/disk.new" "$vm/disk.img"
fi

# The binaries, where they would be on this machine, and who runs one after the other.
stage=$(mktemp -d "$vm/stage.XXXX")
trap 'rm -rf "$stage"' EXIT
printf '#!/bin/sh\nfailed=0\n' > "$stage/muster-tests"
for binary in "$repository/target/debug/muster-executor" "$@"; do
    path=$(realpath "$binary")
    mkdir -p "$stage$(dirname "$path")"
    strip --strip-debug -o "$stage$path" "$path"
    [ "$binary" = "$repository/target/debug/muster-executor" ] || echo "$path --nocapture || failed=1" >> "$stage/muster-tests"
done
echo 'echo "tests in the machine: failed=$failed"; sync' >> "$stage/muster-tests"
chmod +x "$stage/muster-tests"
tar -cf "$stage.tar" -C "$stage" .
trap 'rm -rf "$stage" "$stage.tar"' EXIT

# Without cx16 and la57, which older versions of QEMU do not emulate right.
case $accel in kvm*) cpu=host ;; *) cpu=max,-cx16,-la57 ;; esac
qemu-system-x86_64 -machine q35 -accel "$accel" -cpu "$cpu" -smp 2 -m 2048 -nographic -no-reboot -nic none \
    -kernel "$vm/kernel" -initrd "$vm/initrd" -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no" \
    -drive "file=$vm/disk.img,if=virtio,format=raw,snapshot=on" -drive "file=$stage.tar,if=virtio,format=raw" < /dev/null \
    | tee "$vm/output"
grep -q 'tests in the machine: failed=0' "$vm/output"
