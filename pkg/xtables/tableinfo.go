package xtables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// tableInfo is struct ipt_getinfo, and ip6t_getinfo alike: where a table begins for each hook, and how much there is of it.
type tableInfo struct {
	name       [32]byte
	hooks      uint32
	entry      [5]uint32
	underflow  [5]uint32
	numEntries uint32
	size       uint32
}

// getInfo is IPT_SO_GET_INFO, and IP6T_SO_GET_INFO alike.
const getInfo = 64

// tableInfos asks for the size of every table of legacy iptables in the network namespace of the calling thread. None is made by that.
func tableInfos(f service.Family) (Stamp, error) {
	file, domain, level := "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP
	if f == service.IPv6 {
		file, domain, level = "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6
	}
	names, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Stamp{}, fmt.Errorf("list the tables of iptables: %w", err)
	}
	socket, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Stamp{}, fmt.Errorf("ask for the size of tables: %w", err)
	}
	defer unix.Close(socket)
	s := Stamp{Count: map[string]int{}}
	var text strings.Builder
	text.WriteString("tables:")
	for _, name := range strings.Fields(string(names)) {
		var info tableInfo
		if copy(info.name[:len(info.name)-1], name) < len(name) {
			continue
		}
		size := uint32(unsafe.Sizeof(info))
		// No package of Go's knows this option.
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), getInfo,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return Stamp{}, fmt.Errorf("ask for the size of table %s: %w", name, errno)
		}
		s.Count[name] = int(info.numEntries)
		if err := binary.Write(&text, binary.NativeEndian, info.words()); err != nil {
			return Stamp{}, fmt.Errorf("keep the size of table %s: %w", name, err)
		}
		text.WriteString(name)
	}
	s.Text = text.String()
	return s, nil
}

// words are the numbers of an info.
func (i tableInfo) words() []uint32 {
	words := append([]uint32{i.hooks, i.numEntries, i.size}, i.entry[:]...)
	return append(words, i.underflow[:]...)
}
