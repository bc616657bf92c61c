package node

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// modprobe is the program that loads modules, by its package's usual places. An init container may have another PATH than the node.
var modprobe = []string{"modprobe", "/sbin/modprobe", "/usr/sbin/modprobe"}

// LoadModule loads a module of the kernel, unless present says that what it brings is there already: many kernels have it built in,
// and many load it by themselves. needed says what for, in an error's words.
func LoadModule(ctx context.Context, name, needed string, present func() bool) error {
	if present() {
		return nil
	}
	said := "there is no modprobe here"
	for _, program := range modprobe {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, name).CombinedOutput()
		if present() {
			return nil
		}
		said = fmt.Sprintf("%s %s: %s", path, name, bytes.TrimSpace(out))
		if err != nil {
			said += " (" + err.Error() + ")"
		}
		break
	}
	return fmt.Errorf("%s needs the kernel module %s, and it could not be loaded: %s; run 'modprobe %s' on the node, or mount its /lib/modules into the privileged init container",
		needed, name, said, name)
}
