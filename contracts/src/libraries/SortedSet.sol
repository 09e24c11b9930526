// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title A set of numbered members ordered by stake, highest first, as a linked list
/// @dev A caller names the neighbours it expects; a wrong hint costs a bounded walk, never an unbounded one.
/// Among equal keys the earlier entry stays ahead. Numbers instead of addresses let a member fit into one slot.
library SortedSet {
    struct Node {
        uint32 prev;
        uint32 next;
        uint96 key;
        bool present;
    }

    struct Set {
        uint32 head;
        uint32 tail;
        uint32 size;
        mapping(uint256 id => Node node) nodes;
    }

    /// @dev About 280,000 gas of cold reads; every caller can compute an exact hint from the list.
    uint256 internal constant MAX_WALK = 128;

    /// @dev The place is further from the hint than one call may walk.
    error HintTooFar(uint256 hintId, uint256 bound);

    function contains(Set storage set, uint256 id) internal view returns (bool) {
        return set.nodes[id].present;
    }

    function insert(Set storage set, uint32 id, uint256 key, uint256 hint) internal {
        if (!_tryInsert(set, id, key, hint)) revert HintTooFar(hint, MAX_WALK);
    }

    function remove(Set storage set, uint256 id) internal {
        Node memory node = set.nodes[id];
        if (node.prev == 0) set.head = node.next;
        else set.nodes[node.prev].next = node.next;
        if (node.next == 0) set.tail = node.prev;
        else set.nodes[node.next].prev = node.prev;
        delete set.nodes[id];
        --set.size;
    }

    function update(Set storage set, uint32 id, uint256 key, uint256 hint) internal {
        if (!tryUpdate(set, id, key, hint)) revert HintTooFar(hint, MAX_WALK);
    }

    /// @dev As `update`, but a member whose place is too far away is out of the set.
    function tryUpdate(Set storage set, uint32 id, uint256 key, uint256 hint) internal returns (bool) {
        Node memory node = set.nodes[id];
        bool fitsAbove = node.prev == 0 || set.nodes[node.prev].key >= key;
        bool fitsBelow = node.next == 0 || set.nodes[node.next].key <= key;
        if (fitsAbove && fitsBelow) {
            set.nodes[id].key = uint96(key);
            return true;
        }
        // A hint that names the moving member is gone in a moment: its neighbour on the way is as good.
        if (hint == 0 || hint == id) hint = fitsAbove ? node.next : node.prev;
        remove(set, id);
        return _tryInsert(set, id, key, hint);
    }

    function _tryInsert(Set storage set, uint32 id, uint256 key, uint256 hint) private returns (bool) {
        (uint32 prev, uint32 next, bool found) = _place(set, key, hint);
        if (!found) return false;
        // Keys are token amounts, and the supply is bounded far below 2^96.
        set.nodes[id] = Node(prev, next, uint96(key), true);
        if (prev == 0) set.head = id;
        else set.nodes[prev].next = id;
        if (next == 0) set.tail = id;
        else set.nodes[next].prev = id;
        ++set.size;
        return true;
    }

    /// @dev The neighbours between which `key` belongs, walking from the hint (or the tail) up or down.
    function _place(Set storage set, uint256 key, uint256 hint)
        private
        view
        returns (uint32 prev, uint32 next, bool found)
    {
        prev = set.nodes[hint].present ? uint32(hint) : set.tail;
        if (prev == 0) return (0, 0, true);
        next = set.nodes[prev].next;
        for (uint256 i; i < MAX_WALK; ++i) {
            if (prev != 0 && set.nodes[prev].key < key) {
                (prev, next) = (set.nodes[prev].prev, prev);
            } else if (next != 0 && set.nodes[next].key >= key) {
                (prev, next) = (next, set.nodes[next].next);
            } else {
                return (prev, next, true);
            }
        }
        return (0, 0, false);
    }
}
