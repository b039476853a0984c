//! Which mounts are places that can fill up: pure, over the lines of `/proc/self/mountinfo`.
//!
//! Left out are: filesystems that store nothing of their own (`proc`, `cgroup`, `overlay` …) or nothing that can grow
//! (images such as `squashfs`, a tmpfs that is read-only), filesystems over the network unless asked for,
//! further mounts of what is already counted, mounts hidden under another, and what the settings exclude.
//! The root is always counted: in a container it is an overlay, and still the disk that fills up.

use procfs::process::MountInfo;

use super::glob::Globs;

/// Stores nothing of its own, or cannot grow.
const NOT_STORAGE: &[&str] = &[
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "cramfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sockfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "udf",
];

/// Answers only while someone else does, and then counts someone else's disk.
const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "ceph",
    "cifs",
    "glusterfs",
    "gfs2",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "virtiofs",
];

/// The mount points to look at, in the order of their names.
pub(crate) fn choose(mounts: &[MountInfo], exclude: &Globs, network: bool) -> Vec<String> {
    let mut chosen: Vec<(&str, &MountInfo)> = Vec::new();
    for (i, mount) in mounts.iter().enumerate() {
        let Some(point) = mount.mount_point.to_str() else {
            continue;
        };
        let hidden = mounts[i + 1..]
            .iter()
            .any(|later| later.mount_point == mount.mount_point);
        if hidden || (point != "/" && (is_left_out(mount, network) || exclude.matches(point))) {
            continue;
        }
        // Of several mounts of one device the whole one counts, else the first: bind mounts come after what they bind.
        match chosen
            .iter()
            .position(|(_, other)| device(other) == device(mount))
        {
            Some(same) if mount.root == "/" && chosen[same].1.root != "/" => {
                chosen[same] = (point, mount)
            }
            Some(_) => {}
            None => chosen.push((point, mount)),
        }
    }
    let mut points: Vec<String> = chosen
        .into_iter()
        .map(|(point, _)| point.to_owned())
        .collect();
    points.sort_unstable();
    points
}

fn is_left_out(mount: &MountInfo, network: bool) -> bool {
    let fs = mount.fs_type.as_str();
    let read_only_memory = fs == "tmpfs" && mount.mount_options.contains_key("ro");
    let remote = NETWORK.contains(&fs) || fs == "fuse" || fs.starts_with("fuse.");
    NOT_STORAGE.contains(&fs) || read_only_memory || (remote && !network)
}

/// What two mounts of one filesystem share. Subvolumes of btrfs have device numbers of their own, but one source.
fn device(mount: &MountInfo) -> &str {
    match &mount.mount_source {
        Some(source) if source.starts_with("/dev/") => source,
        _ => &mount.majmin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &str, exclude: &[&str], network: bool) -> Vec<String> {
        let mounts: Vec<MountInfo> = lines
            .lines()
            .map(|line| MountInfo::from_line(line).expect("a line of mountinfo"))
            .collect();
        let exclude: Vec<String> = exclude.iter().map(|&glob| glob.to_owned()).collect();
        choose(&mounts, &Globs::new(&exclude), network)
    }

    #[test]
    fn disks_and_memory_that_can_fill_up_count_and_nothing_else() {
        let lines = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334524k
25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684096k
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:25 / /opt/image ro,nosuid - tmpfs none ro,size=4k
29 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
31 27 0:40 / /mnt/fill rw,relatime - tmpfs tmpfs rw,size=65536k
32 27 254:0 /var/lib/x /srv/x rw,relatime - ext4 /dev/vda rw
33 27 0:41 / /run rw - tmpfs tmpfs rw
34 33 0:42 / /run/user/1000 rw - tmpfs tmpfs rw
35 27 0:43 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw";
        assert_eq!(
            chosen(lines, &["/run/*"], false),
            ["/", "/dev/shm", "/mnt/fill", "/run"]
        );
    }

    #[test]
    fn the_root_of_a_container_counts_though_it_is_an_overlay() {
        let lines = "\
27 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a
40 27 254:1 /docker/hosts /etc/hosts rw - ext4 /dev/vda1 rw
41 27 254:1 / /data rw - ext4 /dev/vda1 rw";
        assert_eq!(
            chosen(lines, &[], false),
            ["/", "/data"],
            "the whole device rather than a piece of it"
        );
    }

    #[test]
    fn what_lives_elsewhere_counts_only_when_asked_for() {
        let lines = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:60 / /nfs rw - nfs4 server:/export rw
41 27 0:61 / /media/stick rw - fuse.sshfs me@there: rw";
        assert_eq!(chosen(lines, &[], false), ["/"]);
        assert_eq!(chosen(lines, &[], true), ["/", "/media/stick", "/nfs"]);
    }

    #[test]
    fn a_mount_under_another_is_hidden_and_subvolumes_are_one_disk() {
        let lines = "\
27 1 0:30 /@ / rw,relatime - btrfs /dev/sda2 rw,subvol=/@
28 27 0:31 /@home /home rw - btrfs /dev/sda2 rw,subvol=/@home
40 27 0:62 / /data rw - tmpfs tmpfs rw
41 27 8:17 / /data rw - xfs /dev/sdb1 rw";
        assert_eq!(chosen(lines, &[], false), ["/", "/data"]);
    }
}
