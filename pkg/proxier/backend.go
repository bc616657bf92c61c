package proxier

import (
	"context"

	"github.com/fairlead/fairlead/pkg/service"
)

// Follower is told what the kernel holds, after each successful sync. It keeps what it could not do, and tries again when it is
// called the next time.
type Follower interface {
	// Synced says that the kernel held was, which is nil at first, and now holds is. They differ in the ports named by dirty;
	// nil means that they may differ in any.
	Synced(ctx context.Context, was, is *service.Table, dirty service.PortSet) error
}

// Backend makes this node's kernel forward what a Table describes, in one IP family.
type Backend interface {
	// Sync makes the kernel hold exactly table. dirty names the service ports that may differ from the last successful
	// Sync; nil means that nothing may be assumed, neither of Fairlead's own earlier work. After an error every service port
	// is served by its old rules or by its new ones, and the caller comes again with the union of the dirty sets.
	//
	// An error that contains a service.Unwritten (errors.As) says that the Sync succeeded but for the service ports named there: each of
	// these is served as before or not at all, and every other port is in the kernel as table says. The Backend goes on from what it knows
	// of the kernel, without reading it again, and the dirty of the next Sync names at least these ports. What is wrong with the whole
	// family, such as a missing kernel module, must not be returned in this way: the caller counts such a Sync as a success.
	Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error
	// Verify compares the kernel with what the last Sync wrote and names what differs; it changes nothing of that. A service port that
	// the Sync could not write is compared with what it was before, or not at all.
	Verify(ctx context.Context) (drift []string, err error)
	// Drain leaves new connections to another Backend, which serves already, and says how many standing ones need this one still. As long as
	// there are some, the caller goes on to sync it, which must not make it take new connections, and calls again; then Remove takes nothing
	// away that anybody needs. A Sync after a Drain that found none, or failed, makes it serve again, so after an error the caller first calls
	// Drain again. Drain may be called before any Sync, for what a process that is gone has left.
	Drain(ctx context.Context) (left int, err error)
	// Remove deletes all that this backend ever wrote on this machine, by its marks, and nothing else.
	Remove(ctx context.Context) error
}

// Retirer is a Backend that keeps endpoints which are gone for as long as they have connections.
type Retirer interface {
	// Retire lets those go whose connections have ended. It is called every sync period. After an error nothing may be assumed of
	// what the kernel holds.
	Retire(ctx context.Context) error
}
