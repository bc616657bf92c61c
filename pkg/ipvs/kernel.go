package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// Errors of the kernel that a caller decides on.
var (
	errExists      = errors.New("is there already")
	errNotFound    = errors.New("is not there")
	errNoScheduler = errors.New("the kernel has no such scheduler")
	errNoneAtAll   = errors.New("the kernel has no scheduler for Services without one of their own")
	errRefused     = errors.New("the kernel does not take it")
	errFull        = fmt.Errorf("is full: it has all the %d entries that it can have; use fewer addresses, ports or loadBalancerSourceRanges", maxEntries)
	errNoType      = errors.New("the kernel has no such ipset type")
)

// key is what the kernel knows a virtual server by.
type key struct {
	protocol service.Protocol
	address  netip.AddrPort
}

// String is the key as ipsets spell it: 10.96.0.10,udp:53.
func (k key) String() string {
	return fmt.Sprintf("%s,%s:%d", k.address.Addr(), k.protocol, k.address.Port())
}

// virtualServer is one address and port on which IPVS answers.
type virtualServer struct {
	key
	scheduler string
	// flags are IP_VS_SVC_F_*, and our mark. The kernel's own IP_VS_SVC_F_HASHED is never among them.
	flags uint32
	// timeout is how long a client stays with its real server, in whole seconds; it counts only with flagPersistent.
	timeout time.Duration
}

// realServer is one endpoint behind a virtual server.
type realServer struct {
	address netip.AddrPort
	weight  uint16
	// connections is how many the kernel holds, open or closing; known only where it was read from the kernel.
	connections int
	// established is how many of these are open or being opened. The kernel knows that of no UDP flow.
	established int
}

// The flags of a virtual server (linux/ip_vs.h). What the scheduler flags mean is up to the scheduler: for sh and mh they are
// these two.
const (
	flagPersistent uint32 = 0x0001
	flagHashed     uint32 = 0x0002
	flagFallback   uint32 = 0x0008
	flagPorts      uint32 = 0x0010
)

// servers is IPVS, one IP family of it.
type servers interface {
	// List returns all virtual servers with an address, whoever made them.
	List() ([]virtualServer, error)
	// Statistics has what the kernel has counted, as of the last List.
	Statistics() map[key]statistics
	// Add fails with errExists or errNoScheduler, the others with errNotFound, and Update with errNoScheduler too.
	Add(s virtualServer) error
	Update(s virtualServer) error
	Delete(k key) error

	// ListReal returns the real servers of a virtual server; none where there is no such one, as the kernel does not tell the difference.
	ListReal(k key) ([]realServer, error)
	// AddReal fails with errRefused where the address cannot be an endpoint, such as the broadcast address of a network.
	AddReal(k key, r realServer) error
	UpdateReal(k key, r realServer) error
	DeleteReal(k key, address netip.AddrPort) error

	// UDPTimeout is how long the kernel remembers a UDP flow without packets.
	UDPTimeout() (time.Duration, error)
	// Close gives up what was opened; the next use opens it again.
	Close()
}

// entry is an entry of an ipset: which fields count depends on the kind of the set.
type entry struct {
	key    key
	client netip.Prefix
}

// String is the entry about as ipset prints it.
func (e entry) String() string {
	switch {
	case e.key.protocol == 0:
		return e.client.String()
	case !e.key.address.Addr().IsValid():
		return strconv.Itoa(int(e.key.address.Port()))
	case !e.client.IsValid():
		return e.key.String()
	}
	return e.key.String() + "," + e.client.String()
}

// setKind is what an ipset is made of, as ipset spells it.
type setKind string

// The kinds of set.
const (
	ofFrontends setKind = "hash:ip,port"     // entry.key
	ofClients   setKind = "hash:ip,port,net" // entry.key and entry.client
	ofPairs     setKind = "hash:net,net"     // entry.client, twice
	ofPorts     setKind = "bitmap:port"      // the port of entry.key; TCP
)

// ipset is one set of ours.
type ipset struct {
	name string
	kind setKind
}

// sets are the kernel's ipsets, those of one IP family.
type sets interface {
	// Names lists the sets that there are, whoever made them. It fails with errNoSets where there can be none.
	Names() ([]string, error)
	// Create makes an empty set; it fails with errExists where there is one of that name, of whatever kind.
	Create(s ipset) error
	// Destroy fails with errNotFound.
	Destroy(name string) error
	// List fails with errNotFound where there is no such set, and with errWrongKind where it is of another kind.
	List(s ipset) ([]entry, error)
	// Add and Delete do not mind entries that are there already, or are not. They fail with errNotFound where there is no such set.
	Add(s ipset, entries ...entry) error
	Delete(s ipset, entries ...entry) error
}

// errNoSets says that the kernel has no ipset.
var errNoSets = errors.New("the kernel has no ipset: load the module ip_set on the node, or use --proxy-mode=iptables")

// errWrongKind says that a set with the name of one of ours is none of ours.
var errWrongKind = errors.New("is a set of another kind")

// routes is the routing table of our own in which every virtual IP is local, and the rule that leads marked packets there.
type routes interface {
	// List returns the addresses that are local in our table.
	List() ([]netip.Addr, error)
	// Add and Delete do not mind what is there already, or is not.
	Add(list ...netip.Addr) error
	Delete(list ...netip.Addr) error
	// Ruled reports whether the rule is there; AddRule and DeleteRule do not mind either.
	Ruled() (bool, error)
	AddRule() error
	DeleteRule() error
}
