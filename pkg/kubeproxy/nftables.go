package kubeproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// tableName is that of kube-proxy's nftables mode, one in each family ("ip kube-proxy" and "ip6 kube-proxy").
const tableName = "kube-proxy"

// nftFamily is what nftables calls a family.
func nftFamily(f service.Family) uint8 {
	if f == service.IPv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// tableStands reports whether kube-proxy's table is there.
func tableStands(family service.Family) (bool, error) {
	return objectStands(family, unix.NFT_MSG_GETTABLE, "table "+tableName, nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(tableName)))
}

// chainStands reports whether a chain of the nft variant of iptables is there. It reads no rules.
func chainStands(family service.Family, table, chain string) (bool, error) {
	return objectStands(family, unix.NFT_MSG_GETCHAIN, "chain "+table+" "+chain,
		nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(table)), nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(chain)))
}

// objectStands asks for one object of nftables.
func objectStands(family service.Family, get int, what string, attributes ...*nl.RtAttr) (bool, error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|get, unix.NLM_F_ACK)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: nftFamily(family), Version: nl.NFNETLINK_V0})
	for _, a := range attributes {
		request.AddData(a)
	}
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil // or a kernel without nftables
	}
	return false, fmt.Errorf("look for the nftables %s: %w", what, err)
}

// removeTable deletes kube-proxy's table with all that is in it, at once.
func removeTable(family service.Family) error {
	stands, err := tableStands(family)
	if err != nil || !stands {
		return err
	}
	if err := sendBatch(deleteTable(family)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete the nftables table %s: %w", tableName, err)
	}
	return nil
}

// Messages of a batch (linux/netfilter/nfnetlink.h): nftables takes changes only between a begin and an end.
const (
	sequence = 2
	headers  = unix.SizeofNlMsghdr + nl.SizeofNfgenmsg
)

func deleteTable(family service.Family) []byte {
	name := nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(tableName)).Serialize()
	return nfMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, sequence, nftFamily(family), 0, name)
}

func nfMessage(kind, flags uint16, seq uint32, family uint8, resource uint16, attributes []byte) []byte {
	b := make([]byte, headers, headers+len(attributes)+3)
	native := nl.NativeEndian()
	native.PutUint32(b[0:], uint32(headers+len(attributes)))
	native.PutUint16(b[4:], kind)
	native.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], seq)
	b[16] = family
	binary.BigEndian.PutUint16(b[18:], resource)
	b = append(b, attributes...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// sendBatch sends one change, whose sequence number is sequence, and waits for the kernel's answer.
func sendBatch(change []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	patience := unix.NsecToTimeval(int64(30 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return err
	}
	batch := nfMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, sequence-1, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	batch = append(batch, change...)
	batch = append(batch, nfMessage(unix.NFNL_MSG_BATCH_END, 0, sequence+1, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)...)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return awaitAnswer(fd)
}

// awaitAnswer returns the error in the kernel's answer, which is 0 where all went well.
func awaitAnswer(fd int) error {
	buffer := make([]byte, 16<<10)
	n, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return fmt.Errorf("wait for the kernel's answer: %w", err)
	}
	if n < unix.SizeofNlMsghdr+4 || nl.NativeEndian().Uint16(buffer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is none")
	}
	if errno := int32(nl.NativeEndian().Uint32(buffer[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}
