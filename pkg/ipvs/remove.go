package ipvs

import (
	"context"
	"errors"
	"strings"
)

// Remove deletes all that Fairlead ever wrote for IPVS in this family, by its marks, and nothing else. It asks nothing of what this
// Backend wrote, so that it also cleans up after a process that is gone, and on a node without IPVS. Where another mode serves already,
// nobody notices but who has a connection that stands by IPVS; see Drain.
func (b *Backend) Remove(ctx context.Context) error {
	b.table, b.refusing = nil, nil
	if err := b.kernel.rules.Unhook(ctx, newcomers...); err != nil {
		return err // new connections come here still, and need what they find
	}
	var failures []error
	failures = append(failures, b.kernel.rules.Remove(ctx))
	failures = append(failures, b.kernel.routes.DeleteRule())
	failures = append(failures, b.removeOwnServers())
	failures = append(failures, b.removeOwnRoutes())
	// The kernel keeps a set as long as a rule asks it.
	failures = append(failures, b.removeOwnSets())
	return errors.Join(failures...)
}

func (b *Backend) removeOwnServers() error {
	if !b.kernel.present() {
		return nil
	}
	defer b.kernel.servers.Close() // there may be no next use
	list, err := b.kernel.servers.List()
	if err != nil {
		return err
	}
	var failures []error
	for _, s := range list {
		if !s.ours() || b.excluded(s.key) {
			continue
		}
		if err := b.kernel.servers.Delete(s.key); err != nil && !errors.Is(err, errNotFound) {
			failures = append(failures, err)
		}
	}
	return some(failures)
}

func (b *Backend) removeOwnRoutes() error {
	list, err := b.kernel.routes.List()
	if err != nil {
		return err
	}
	return b.kernel.routes.Delete(list...)
}

func (b *Backend) removeOwnSets() error {
	names, err := b.kernel.sets.Names()
	if errors.Is(err, errNoSets) {
		return nil
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		if !strings.HasPrefix(name, setPrefix(b.options.Family)) {
			continue
		}
		if err := b.kernel.sets.Destroy(name); err != nil && !errors.Is(err, errNotFound) {
			failures = append(failures, err)
		}
	}
	return some(failures)
}
