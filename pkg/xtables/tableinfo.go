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
	s := Stamp{Count: map[string]int{}}
	var text strings.Builder
	text.WriteString("tables:")
	err := eachTableInfo(f, func(name string, info tableInfo) error {
		s.Count[name] = int(info.numEntries)
		if err := binary.Write(&text, binary.NativeEndian, info.words()); err != nil {
			return fmt.Errorf("keep the size of table %s: %w", name, err)
		}
		text.WriteString(name)
		return nil
	})
	if err != nil {
		return Stamp{}, err
	}
	s.Text = text.String()
	return s, nil
}

// eachTableInfo calls do for every table of legacy iptables in the network namespace of the calling thread.
func eachTableInfo(f service.Family, do func(name string, info tableInfo) error) error {
	file, domain, level := "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP
	if f == service.IPv6 {
		file, domain, level = "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6
	}
	names, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the tables of iptables: %w", err)
	}
	socket, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ask for the size of tables: %w", err)
	}
	defer unix.Close(socket)
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
			return fmt.Errorf("ask for the size of table %s: %w", name, errno)
		}
		if err := do(name, info); err != nil {
			return err
		}
	}
	return nil
}

// words are the numbers of an info.
func (i tableInfo) words() []uint32 {
	words := append([]uint32{i.hooks, i.numEntries, i.size}, i.entry[:]...)
	return append(words, i.underflow[:]...)
}
