// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Values by the times from which they hold, in order
/// @dev OpenZeppelin's Checkpoints keep their length in a slot of its own. Here it is the caller's, who has it in a slot
/// that is read anyway: where nothing was noted yet, which is the rule, looking costs nothing.
library Timeline {
    struct Entry {
        uint48 time;
        uint208 value;
    }

    /// @dev Notes what holds from a time on, which is not before the last one.
    /// @return The number of entries: the same one if the last value of this time is replaced.
    function note(mapping(uint256 index => Entry entry) storage entries, uint256 count, uint256 time, uint256 value)
        internal
        returns (uint256)
    {
        if (count == 0 || entries[count - 1].time != time) ++count;
        entries[count - 1] = Entry(uint48(time), uint208(value));
        return count;
    }

    /// @dev The last value that was noted for a time before `time`; 0 if there is none.
    function before(mapping(uint256 index => Entry entry) storage entries, uint256 count, uint256 time)
        internal
        view
        returns (uint256)
    {
        uint256 low;
        uint256 high = count;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (entries[middle].time < time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : entries[low - 1].value;
    }
}
