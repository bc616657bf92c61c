package xtables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// generationID is the attribute of the number of the last transaction (NFTA_GEN_ID in linux/netfilter/nf_tables.h).
const generationID = 1

// generation asks for the number of the last transaction of nf_tables in the network namespace of the calling thread. All families
// share it, and it changes with every change.
func generation() (Stamp, error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return Stamp{}, fmt.Errorf("ask nf_tables for its generation: %w", err)
	}
	for _, message := range messages {
		if len(message) < nl.SizeofNfgenmsg {
			continue
		}
		fields, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
		if err != nil {
			return Stamp{}, fmt.Errorf("read the generation of nf_tables: %w", err)
		}
		for _, f := range fields {
			if f.Attr.Type&nl.NLA_TYPE_MASK == generationID && len(f.Value) == 4 {
				n := binary.BigEndian.Uint32(f.Value)
				return Stamp{Text: strconv.FormatUint(uint64(n), 10), Count: map[string]int{"": int(n)}}, nil
			}
		}
	}
	return Stamp{}, errors.New("nf_tables does not say its generation")
}
