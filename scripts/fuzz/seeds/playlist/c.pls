[playlist]
File1=a.mp3
Title1=x
File2=file:///b%41.mp3
NumberOfEntries=2
