package site

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// LinkIPTables fills a folder with programs called iptables, iptables-save and so on, which are those of one variant: for programs
// that take whatever iptables is in their PATH.
func LinkIPTables(dir, variant string) error {
	var failed []error
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, action := range []string{"", "-save", "-restore"} {
			path, err := exec.LookPath(family + "-" + variant + action)
			if err == nil {
				// The program tells by the name it is called by what it has to do, and not every name will do behind a link.
				path, err = filepath.EvalSymlinks(path)
			}
			if err == nil {
				err = os.Symlink(path, filepath.Join(dir, family+action))
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
