// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title A set of accounts ordered by stake, highest first, as a linked list
/// @dev A caller names the neighbours it expects; a wrong hint costs a bounded walk, never an unbounded one.
/// Among equal keys the earlier entry stays ahead.
library SortedSet {
    /// @dev Key and one neighbour share a slot: moving within a place costs one write.
    struct Node {
        address prev;
        uint96 key;
        address next;
        bool present;
    }

    struct Set {
        address head;
        uint32 size;
        address tail;
        mapping(address account => Node node) nodes;
    }

    /// @dev About 300,000 gas of cold reads; every caller can compute an exact hint from the list.
    uint256 internal constant MAX_WALK = 128;

    /// @dev The place is further from the hint than one call may walk.
    error HintTooFar(address hint, uint256 bound);

    function contains(Set storage set, address account) internal view returns (bool) {
        return set.nodes[account].present;
    }

    function insert(Set storage set, address account, uint256 key, address hint) internal {
        (address prev, address next) = _place(set, key, hint);
        // Keys are token amounts, and the supply is bounded far below 2^96.
        set.nodes[account] = Node(prev, uint96(key), next, true);
        if (prev == address(0)) set.head = account;
        else set.nodes[prev].next = account;
        if (next == address(0)) set.tail = account;
        else set.nodes[next].prev = account;
        ++set.size;
    }

    function remove(Set storage set, address account) internal {
        Node memory node = set.nodes[account];
        if (node.prev == address(0)) set.head = node.next;
        else set.nodes[node.prev].next = node.next;
        if (node.next == address(0)) set.tail = node.prev;
        else set.nodes[node.next].prev = node.prev;
        delete set.nodes[account];
        --set.size;
    }

    function update(Set storage set, address account, uint256 key, address hint) internal {
        Node storage node = set.nodes[account];
        (address prev, address next) = (node.prev, node.next);
        bool fitsAbove = prev == address(0) || set.nodes[prev].key >= key;
        bool fitsBelow = next == address(0) || set.nodes[next].key <= key;
        if (fitsAbove && fitsBelow) {
            node.key = uint96(key);
            return;
        }
        // A hint that names the moving account is gone in a moment: its neighbour on the way is as good.
        if (hint == address(0) || hint == account) hint = fitsAbove ? next : prev;
        remove(set, account);
        insert(set, account, key, hint);
    }

    /// @dev The neighbours between which `key` belongs, walking from the hint (or the tail) up or down.
    function _place(Set storage set, uint256 key, address hint) private view returns (address prev, address next) {
        prev = set.nodes[hint].present ? hint : set.tail;
        if (prev == address(0)) return (address(0), address(0));
        next = set.nodes[prev].next;
        for (uint256 i; i < MAX_WALK; ++i) {
            if (prev != address(0) && set.nodes[prev].key < key) {
                (prev, next) = (set.nodes[prev].prev, prev);
            } else if (next != address(0) && set.nodes[next].key >= key) {
                (prev, next) = (next, set.nodes[next].next);
            } else {
                return (prev, next);
            }
        }
        revert HintTooFar(hint, MAX_WALK);
    }
}
