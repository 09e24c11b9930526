//! Why bytes are no transport stream in normal form: what the strict reader may say, in one table.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $message:literal;)+) => {
        /// What is wrong with bytes that are no transport stream in normal form.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason that the reader can give.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The same in words.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }
        }
    };
}

reasons! {
    /// There are no bytes.
    Empty = "empty";
    /// The length is no multiple of a packet's.
    Torn = "not whole packets of 188 bytes";
    /// A packet does not begin with a sync byte.
    NoSync = "sync byte missing";
    /// A packet says that it is damaged.
    FlaggedError = "transport error flagged";
    /// A packet's payload is scrambled.
    Scrambled = "scrambled";
    /// A packet has neither payload nor adaptation field.
    ReservedControl = "reserved adaptation control";
    /// An adaptation field is longer than its packet.
    FieldLeaves = "adaptation field leaves the packet";
    /// An adaptation field leaves room for a payload that is not there, or none for one that is.
    FieldContradicts = "adaptation field contradicts the packet";
    /// An adaptation field has no room for what it says it holds.
    FieldShort = "adaptation field shorter than its parts";
    /// A clock reference counts more ticks than there are.
    BadClock = "malformed program clock";
    /// A table's packet points behind its first byte.
    TableNotFirst = "table does not start its packet";
    /// A table begins where another is not at its end.
    TableUnfinished = "table ends in its middle";
    /// A packet continues a table that did not begin.
    TableWithoutStart = "table continues without a start";
    /// A table is longer than any that is read.
    TableTooLong = "table section too long";
    /// A table's packet has more in it than the table.
    TableFollowed = "table packet holds more than its table";
    /// A table's checksum is another.
    TableDamaged = "table section damaged";
    /// A table is one of several, or not valid yet.
    TableNotCurrent = "table of several sections or of later";
    /// A second program association is another one.
    AssociationChanges = "program association changes";
    /// There is another table where the program association is due.
    NotAssociation = "not a program association table";
    /// Bytes behind the last program of the program association.
    AssociationTrails = "program association has trailing bytes";
    /// The program association names several programs.
    SeveralPrograms = "more than one program";
    /// The program association names none.
    NoProgram = "no program";
    /// A second program map is another one.
    MapChanges = "program map changes";
    /// There is another table where the program map is due.
    NotMap = "not a program map table";
    /// The program map is of a program that was not announced.
    OtherProgram = "program map of another program";
    /// The descriptors of the program are longer than its map.
    ProgramDescriptorsLeave = "program descriptors leave the table";
    /// The descriptors of a stream are longer than the map.
    StreamDescriptorsLeave = "stream descriptors leave the table";
    /// Bytes behind the last stream of the program map.
    MapTrails = "program map has trailing bytes";
    /// The program map announces more streams than a program may have.
    TooManyStreams = "too many streams";
    /// The program map gives an identifier to two.
    SharedIdentifier = "two streams share an identifier";
    /// The program association or the program map is missing or has no end.
    NoMap = "no program map";
    /// A stream's first packet does not begin a unit.
    StreamWithoutStart = "elementary stream continues without a start";
    /// A unit does not begin with a header.
    BadHeader = "malformed unit header";
    /// A unit's header says that it is scrambled, or is of another standard.
    ScrambledHeader = "scrambled or malformed unit header";
    /// A unit has a decoding time and no presentation time.
    OnlyDecodingTime = "decoding time without presentation time";
    /// A unit's header has no room for the times it says it has.
    TimeMissing = "timestamp missing from its header";
    /// The marker bits of a time are wrong.
    BadTime = "malformed timestamp";
    /// A unit ends before its header does.
    ShorterThanHeader = "unit shorter than its header";
    /// A unit's header does not end in the packet that it begins in.
    HeaderLeaves = "unit header leaves the packet";
    /// A unit has more or fewer bytes than it says.
    OtherLength = "unit is not as long as it says";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
